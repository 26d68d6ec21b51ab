"""The header of a message on its way in: split into fields, asked for addresses, put back.

Works on octets and changes only the fields it is told to change, so that all else stays
byte for byte. Signed mail must survive it.

Called by: client.submission, cli.sendmail.  Raises: ValueError for addresses that are none.
RFCs: RFC 5322 (fields), RFC 6532 (UTF-8 in fields).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_NEWLINE = re.compile(rb"\r\n|\r|\n")
# RFC 5322 §3.6.3: destination fields; §3.6.6: the resent block stands for them where present.
_DESTINATIONS = (b"to", b"cc", b"bcc")
_RESENT_DESTINATIONS = (b"resent-to", b"resent-cc", b"resent-bcc")
BLIND = frozenset((b"bcc", b"resent-bcc"))


class Header:
    """The fields of a message in order, each as its octets with CRLF, and the body."""

    __slots__ = ("body", "fields")

    def __init__(self, content: bytes) -> None:
        """Split `content`, which has CRLF line ends only.

        Where the first lines are no fields, all of it is body: `encode` then puts the
        empty line in that RFC 5322 §2.1 asks for.
        """
        self.fields: list[tuple[bytes, bytes]] = []
        position = 0
        while position < len(content):
            end = content.find(b"\r\n", position) + 2
            if end == 1:
                end = len(content)
            line = content[position:end]
            if line == b"\r\n":
                position = end
                break
            if line[:1] in (b" ", b"\t") and self.fields:
                name, before = self.fields[-1]
                self.fields[-1] = (name, before + line)
            else:
                match = _FIELD.match(line)
                if match is None:
                    break
                self.fields.append((match[1].lower(), line))
            position = end
        self.body = content[position:]

    def has(self, name: bytes) -> bool:
        """Say whether a field is there; `name` in lower case."""
        return any(field == name for field, _ in self.fields)

    def addresses(self, *names: bytes) -> list[str]:
        """Return the addresses in the fields of these names, in order, without doubles."""
        # Imported late: it costs more than all the rest of the client.
        from email.utils import getaddresses

        found: dict[str, None] = {}
        for name, raw in self.fields:
            if name not in names:
                continue
            text = raw.partition(b":")[2].decode("utf-8", "surrogateescape")
            value = text.replace("\r\n", "").strip()
            pairs = getaddresses([value])
            for _, address in pairs:
                if not _is_text(address):
                    # RFC 6532 §3.1: a field outside US-ASCII is UTF-8; no envelope holds others.
                    shown = f"{address!r} in the {name.decode()} field"
                    raise ValueError(f"{shown} is no address: it is not UTF-8")
                if address:
                    found[address] = None
                elif ":" not in value and value:
                    # Only a group ("undisclosed recipients:;") may name nobody.
                    raise ValueError(f"no address in the {name.decode()} field: {value!r}")
        return list(found)

    def recipients(self) -> list[str]:
        """Return whom the header is addressed to; the resent fields alone where present."""
        resent = any(field in _RESENT_DESTINATIONS for field, _ in self.fields)
        return self.addresses(*(_RESENT_DESTINATIONS if resent else _DESTINATIONS))

    def author(self) -> str | None:
        """Return the address that stands for the sender: Sender, else the first From."""
        for name in (b"resent-sender", b"resent-from", b"sender", b"from"):
            if self.has(name):
                found = self.addresses(name)
                return found[0] if found else None
        return None

    def remove(self, names: Iterable[bytes]) -> None:
        """Take all fields of these names (lower case) out."""
        unwanted = frozenset(names)
        self.fields = [(name, raw) for name, raw in self.fields if name not in unwanted]

    def prepend(self, name: str, value: str) -> None:
        """Put a field before the others."""
        self.fields.insert(0, (name.lower().encode(), f"{name}: {value}\r\n".encode()))

    def encode(self) -> bytes:
        """Return the content again."""
        return b"".join((*(raw for _, raw in self.fields), b"\r\n", self.body))


def _is_text(address: str) -> bool:
    """Say whether an address was made of octets in UTF-8."""
    try:
        return address.isascii() or bool(address.encode())
    except UnicodeEncodeError:
        return False


def with_crlf(content: bytes) -> bytes:
    """Return content whose every line, the last one too, ends in CRLF (RFC 5321 §2.3.8)."""
    pairs = content.count(b"\r\n")
    if content.count(b"\n") != pairs or content.count(b"\r") != pairs:
        content = _NEWLINE.sub(b"\r\n", content)
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"
