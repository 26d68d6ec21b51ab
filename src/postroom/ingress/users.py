"""The users file: who may authenticate, with password hashes in PHC format.

One user a line, `name:hash`; the hash is Argon2id or scrypt. Empty lines and lines that
start with "#" are left out.

Guarantees: 1. no password is kept.  2. An unknown name costs as much as a known one.
3. Verification blocks for tens of milliseconds: callers use a thread.  4. The library that
knows the hashes is loaded with the first one: a server without users does without its 7 MiB.
Called by: ingress.settings, ingress.session, cli (make_hash).  Raises: ConfigurationError.
RFCs: RFC 9106 §4, RFC 7914 §2.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from pathlib import Path

from postroom.core.errors import ConfigurationError

# The OWASP minimum for Argon2id: 19 MiB, two passes. RFC 9106 §4 recommends 64 MiB where
# memory is plentiful; a mail server checks many passwords at once.
_MEMORY_KIB, _PASSES, _LANES, _SALT_OCTETS, _HASH_OCTETS = 19_456, 2, 1, 16, 32
# No line of a users file may make one check take more than this.
_MEMORY_KIB_MAX, _PASSES_MAX, _LANES_MAX = 1_048_576, 16, 16
_FILE_OCTETS_MAX = 16 * 1024 * 1024
_PASSWORD_OCTETS_MAX = 1_024

_ARGON2 = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})"
    r"\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{16,128}\Z"
)
_SCRYPT = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})"
    r"\$([A-Za-z0-9+/]{11,64})\$([A-Za-z0-9+/]{16,128})\Z"
)


class Users:
    """Names and hashes."""

    __slots__ = ("_hashes", "_stand_in")

    def __init__(self, hashes: dict[str, str]) -> None:
        self._hashes = hashes
        # Checked in place of an unknown name's hash, so that time does not tell names.
        self._stand_in = next(iter(hashes.values()), None) or make_hash(secrets.token_hex(16))

    def verify(self, name: str, password: str) -> bool:
        """Say whether the password is this user's. Slow: call it in a thread."""
        phc = self._hashes.get(name)
        octets = password.encode("utf-8", "replace")
        matches = len(octets) <= _PASSWORD_OCTETS_MAX and _verify(phc or self._stand_in, octets)
        return matches and phc is not None

    def __len__(self) -> int:
        return len(self._hashes)


def load_users(path: Path) -> Users:
    """Read a users file; raise ConfigurationError with one line per mistake."""
    try:
        status = path.stat()
        if status.st_size > _FILE_OCTETS_MAX:
            raise ConfigurationError(f"{path}: larger than {_FILE_OCTETS_MAX} octets")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot read the users file: {error}") from None
    mistakes = []
    if status.st_mode & 0o007:
        mistakes.append(f"{path}: anybody may read or write it (chmod 0600 or 0640 expected)")
    hashes: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, phc = line.partition(":")
        if not colon or not name:
            mistakes.append(f"{path}:{number}: name:hash expected")
        elif name in hashes:
            mistakes.append(f"{path}:{number}: {name} stands here twice")
        elif not _is_sound(phc):
            mistakes.append(
                f"{path}:{number}: a $argon2id$ or $scrypt$ hash expected (postroom user-hash)"
            )
        else:
            hashes[name] = phc
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return Users(hashes)


def make_hash(password: str) -> str:
    """Return an Argon2id hash of a password in PHC format, with a fresh salt."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    return Argon2id(
        salt=secrets.token_bytes(_SALT_OCTETS),
        length=_HASH_OCTETS,
        iterations=_PASSES,
        lanes=_LANES,
        memory_cost=_MEMORY_KIB,
    ).derive_phc_encoded(password.encode())


def make_user_line(name: str, password: str) -> str:
    """Return a line for a users file; raise ValueError for a name that cannot stand in it."""
    if not name or ":" in name or name.startswith("#") or not name.isprintable():
        raise ValueError(f"not a user name: {name!r} (printable, without a colon)")
    if not password or len(password.encode()) > _PASSWORD_OCTETS_MAX:
        raise ValueError(f"a password has 1 to {_PASSWORD_OCTETS_MAX} octets")
    return f"{name}:{make_hash(password)}"


def _is_sound(phc: str) -> bool:
    if match := _ARGON2.match(phc):
        memory, passes, lanes = int(match[1]), int(match[2]), int(match[3])
        return (
            8 * lanes <= memory <= _MEMORY_KIB_MAX
            and 1 <= passes <= _PASSES_MAX
            and 1 <= lanes <= _LANES_MAX
        )
    if match := _SCRYPT.match(phc):
        cost, block, lanes = int(match[1]), int(match[2]), int(match[3])
        # RFC 7914 §2: memory is 128 * N * r octets.
        return (
            10 <= cost <= 20
            and 1 <= block <= 32
            and 1 <= lanes <= _LANES_MAX
            and (128 << cost) * block <= _MEMORY_KIB_MAX * 1024
        )
    return False


def _verify(phc: str, password: bytes) -> bool:
    from cryptography.exceptions import InvalidKey
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    try:
        if phc.startswith("$argon2id$"):
            Argon2id.verify_phc_encoded(password, phc)
            return True
        match = _SCRYPT.match(phc)
        assert match is not None
        expected = _unpadded(match[5])
        Scrypt(
            salt=_unpadded(match[4]),
            length=len(expected),
            n=1 << int(match[1]),
            r=int(match[2]),
            p=int(match[3]),
        ).verify(password, expected)
    except (InvalidKey, binascii.Error):
        return False
    return True


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
