"""Tokens: who may use the HTTP API, and for what.

A token is `prm_ID_SECRET`. The secret has 256 bits from the system's source and is kept as
its SHA-256 alone, so the file gives nobody a token back; a slow hash would add nothing to a
secret that cannot be guessed. They lie in BASE/console/tokens.db (mode 0600), which the
console and `postroom token` open side by side.

Guarantees: 1. a token is shown once, when it is made.  2. what is revoked or expired is not
found from then on.  3. a change is durable when it returns.
Called by: cli.token, console.  Raises: TokenError.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import os
import secrets
from pathlib import Path

import apsw
import msgspec

from postroom.control.paths import make_private_directory
from postroom.core.clock import Clock
from postroom.core.errors import PostroomError

PREFIX = "prm"
"""So that scanners for secrets find one that leaked."""
SECRET_OCTETS = 32
ID_OCTETS = 5
NAME_CHARACTERS_MAX = 64
TOKENS_MAX = 1000
"""Not expired or revoked at a time; a program has one, not one for each message."""
USED_STEP_S = 60.0
"""How exactly it is kept when a token was used last: a write a minute, not one a request."""
BUSY_MS = 5000
VERSION = 1
_SCHEMA = """
create table if not exists tokens (
    id text primary key, name text not null, role text not null, hash blob not null,
    created_at real not null, expires_at real not null, used_at real not null,
    senders text not null, tenant text not null
) strict
"""


class TokenError(PostroomError):
    """What was asked of tokens cannot be done; says what was expected."""


class Role(enum.StrEnum):
    """What a token is for: to look, to look and change, or to hand over mail and no more."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    INJECTOR = "injector"


class Token(msgspec.Struct, frozen=True):
    """What is known of a token; times in seconds since the epoch, 0 for never.

    `senders` are domains (or addresses) that an injector may send from, none: any; `tenant` is
    the one its mail must belong to, "" for any.
    """

    id: str
    name: str
    role: Role
    created_at: float
    expires_at: float = 0.0
    used_at: float = 0.0
    senders: tuple[str, ...] = ()
    tenant: str = ""


class Tokens:
    """The tokens of one base. Close it."""

    def __init__(self, base: str | Path, clock: Clock) -> None:
        """Open the file, and make it where it is missing."""
        directory = Path(base) / "console"
        self._clock = clock
        self.path = directory / "tokens.db"
        try:
            make_private_directory(directory)
            # SQLite gives its journal the mode of the file, so it is made here.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._database = apsw.Connection(str(self.path))
            self._database.set_busy_timeout(BUSY_MS)
            self._database.execute("pragma synchronous=full")
            self._prepare()
        except (OSError, apsw.Error) as error:
            raise TokenError(f"{self.path}: {error}") from error

    def _prepare(self) -> None:
        (version,) = next(iter(self._database.execute("pragma user_version")))
        if version > VERSION:
            raise TokenError(f"{self.path}: version {version}, this program knows {VERSION}")
        if version < VERSION:
            self._database.execute(f"{_SCHEMA}; pragma user_version={VERSION}")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def create(
        self,
        name: str,
        role: Role,
        *,
        lasts_s: float = 0.0,
        senders: tuple[str, ...] = (),
        tenant: str = "",
    ) -> tuple[str, Token]:
        """Make a token and return it, whole for this once, with what is kept of it."""
        if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable() or " " in name:
            text = f"{name!r} is no name of a token; expected 1 to {NAME_CHARACTERS_MAX} printable "
            raise TokenError(text + "characters without spaces")
        if (senders or tenant) and role is not Role.INJECTOR:
            raise TokenError(f"sender domains and a tenant are for an injector, not a {role}")
        now = self._clock.now()
        secret = secrets.token_urlsafe(SECRET_OCTETS)
        token = Token(
            secrets.token_hex(ID_OCTETS), name, role, now, now + lasts_s if lasts_s else 0.0, 0.0,
            tuple(one.lower() for one in senders), tenant,
        )  # fmt: skip
        with self._database:
            self._database.execute("delete from tokens where expires_at between 1 and ?", (now,))
            known = self.list()
            if any(one.name == name for one in known):
                raise TokenError(f"there is a token {name}; expected another name, or revoke it")
            if len(known) >= TOKENS_MAX:
                raise TokenError(f"there are {TOKENS_MAX} tokens; revoke some first")
            self._database.execute(
                "insert into tokens values (?,?,?,?,?,?,?,?,?)",
                (
                    token.id, name, role.value, _hash(secret), now, token.expires_at, 0.0,
                    " ".join(token.senders), tenant,
                ),
            )  # fmt: skip
        return f"{PREFIX}_{token.id}_{secret}", token

    def list(self) -> list[Token]:
        """Return the tokens that are valid, by name."""
        rows = self._database.execute(f"select {_COLUMNS} from tokens order by name")
        now = self._clock.now()
        return [one for one in map(_token, rows) if not 0 < one.expires_at <= now]

    def revoke(self, name: str) -> bool:
        """Forget a token by its name or id; say whether there was one."""
        self._database.execute("delete from tokens where name = ?1 or id = ?1", (name,))
        return bool(self._database.changes())

    def by_id(self, token_id: str) -> Token | None:
        """Return a token that is still valid."""
        row = self._row(f"select {_COLUMNS} from tokens where id = ?", token_id)
        token = _token(row) if row is not None else None
        expired = token is not None and 0 < token.expires_at <= self._clock.now()
        return None if expired else token

    def find(self, text: str) -> Token | None:
        """Return the token that `text` is, or None; and note that it was used."""
        parts = text.split("_", 2)
        if len(parts) != 3 or parts[0] != PREFIX:
            return None
        row = self._row("select hash from tokens where id = ?", parts[1])
        kept = bytes(row[0]) if row is not None and isinstance(row[0], bytes) else b""
        if not hmac.compare_digest(kept, _hash(parts[2])):
            return None
        token = self.by_id(parts[1])
        if token is not None:
            self._note_use(token)
        return token

    def _row(self, ask: str, token_id: str) -> tuple[object, ...] | None:
        try:
            return next(iter(self._database.execute(ask, (token_id,))), None)
        except apsw.Error as error:
            raise TokenError(f"{self.path}: {error}") from error

    def _note_use(self, token: Token) -> None:
        now = self._clock.now()
        if now - token.used_at < USED_STEP_S:
            return
        try:
            self._database.execute("update tokens set used_at = ? where id = ?", (now, token.id))
        except apsw.Error:
            pass  # a full disk keeps nobody from looking


_COLUMNS = "id, name, role, created_at, expires_at, used_at, senders, tenant"


def _token(row: tuple[object, ...]) -> Token:
    token_id, name, role, created_at, expires_at, used_at, senders, tenant = row
    return msgspec.convert(
        {
            "id": token_id, "name": name, "role": role, "created_at": created_at,
            "expires_at": expires_at, "used_at": used_at, "tenant": tenant,
            "senders": tuple(str(senders).split()),
        },
        Token,
    )  # fmt: skip


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
