"""What is sent: one letter for each way in which hosts may come to disagree.

Each letter has a token in its header, by which what arrives, or comes back, is known again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from tests.interop.combination import Combination

SENDER = "sender@home.example"
HOME = "home.example"
TOKEN = re.compile(rb"X-Letter: (c[0-9]+-[a-z0-9-]+)\r\n")
LARGE_OCTETS = 200 * 1024
LINE_MAX = 998
"""RFC 5322 §2.1.1."""


class Letter(msgspec.Struct, frozen=True):
    """One message for one combination, and how it is handed over."""

    kind: str
    combination: Combination
    content: bytes
    user: str = "box"
    body: str = ""
    """The value of BODY, where the sender says it."""
    smtputf8: bool = False
    chunks: tuple[bytes, ...] = ()
    """Handed over in these pieces: by BDAT where that is offered."""
    needs_chunking: bool = False
    expected: bytes = b""
    """What must arrive, where that is not the content."""

    @property
    def token(self) -> str:
        """The name by which it is known again."""
        return f"{self.combination.name}-{self.kind}"

    @property
    def recipient(self) -> str:
        """Its one recipient."""
        return f"{self.user}@{self.combination.domain}"

    @property
    def arriving(self) -> bytes:
        """What must arrive below trace fields."""
        return self.expected or self.content


def _header(token: str, *more: bytes, subject: bytes = b"of interest") -> bytes:
    fields = (
        b"From: <sender@home.example>", b"To: <box@interop.example>",
        b"Date: Tue, 24 Nov 2026 10:00:00 +0000", b"Message-ID: <%s@home.example>" % token.encode(),
        b"X-Letter: " + token.encode(), b"Subject: " + subject, b"MIME-Version: 1.0", *more,
    )  # fmt: skip
    return b"\r\n".join(fields) + b"\r\n\r\n"


_PLAIN = (
    b"Content-Type: text/plain; charset=us-ascii",
    b"Content-Transfer-Encoding: 7bit",
)
_EIGHT = (
    b"Content-Type: text/plain; charset=utf-8",
    b"Content-Transfer-Encoding: 8bit",
)
_UTF8 = "Grüße aus Köln, 日本".encode()


def _lines(line: bytes, octets: int) -> bytes:
    return line * (octets // len(line) + 1)


def _seven_bit(c: Combination) -> Letter:
    body = b"One line.\r\nFrom the start of a line\r\nspace at the end \t\r\n\r\n\r\n"
    # A folded field, and one without a space: what hosts like to rewrite.
    more = (*_PLAIN, b"X-Folded: one\r\n\ttwo\r\n  three", b"X-Narrow:none")
    return Letter("seven-bit", c, _header(f"{c.name}-seven-bit", *more) + body)


def _eight_bit(c: Combination) -> Letter:
    content = _header(f"{c.name}-eight-bit", *_EIGHT) + _UTF8 + b"\r\n"
    return Letter("eight-bit", c, content, body="8BITMIME")


def _eight_undeclared(c: Combination) -> Letter:
    content = _header(f"{c.name}-eight-undeclared", *_EIGHT) + _UTF8 + b"\r\n"
    return Letter("eight-undeclared", c, content)


def _utf8_address(c: Combination) -> Letter:
    content = _header(f"{c.name}-utf8-address", *_PLAIN) + b"To a name of many scripts.\r\n"
    return Letter("utf8-address", c, content, user="kürzel-日本", smtputf8=True)


def _utf8_header(c: Combination) -> Letter:
    content = _header(f"{c.name}-utf8-header", *_EIGHT, subject=_UTF8) + _UTF8 + b"\r\n"
    return Letter("utf8-header", c, content, body="8BITMIME", smtputf8=True)


def _dots(c: Combination) -> Letter:
    body = b".\r\n..\r\n...\r\n.one\r\n..two\r\n\r\n.\r\n\r\n.QUIT\r\n.\r\n"
    return Letter("dots", c, _header(f"{c.name}-dots", *_PLAIN) + body)


def _long_lines(c: Combination) -> Letter:
    # With the dot that transparency adds, the second is a line of 1,001 octets on the wire.
    body = b"x" * LINE_MAX + b"\r\n." + b"y" * (LINE_MAX - 1) + b"\r\n" + b"z" * LINE_MAX + b"\r\n"
    return Letter("long-lines", c, _header(f"{c.name}-long-lines", *_PLAIN) + body)


def _chunk_borders(c: Combination) -> Letter:
    head = _header(f"{c.name}-chunk-borders", *_PLAIN)
    chunks = (
        head[:-2], head[-2:] + b"first\r", b"\n", b".", b"\r\n", b".\r", b"\n..", b".\r\nQUIT\r\n",
        b".\r\n", b"last\r\n",
    )  # fmt: skip
    return Letter("chunk-borders", c, b"".join(chunks), chunks=chunks)


def _empty_body(c: Combination) -> Letter:
    return Letter("empty-body", c, _header(f"{c.name}-empty-body", *_PLAIN))


def _no_newline(c: Combination) -> Letter:
    content = _header(f"{c.name}-no-newline", *_PLAIN) + b"the last line has no end"
    return Letter(
        "no-newline", c, content, chunks=(content,), needs_chunking=True,
        # RFC 5321 §2.3.8: lines end in CRLF; hosts complete the last one.
        expected=content + b"\r\n",
    )  # fmt: skip


def _large(c: Combination) -> Letter:
    body = _lines(
        b".twenty thousand leagues of lines, some with a dot\r\nand more\r\n", LARGE_OCTETS
    )
    return Letter("large", c, _header(f"{c.name}-large", *_PLAIN) + body)


def _large_eight_bit(c: Combination) -> Letter:
    body = _lines(b"." + _UTF8 + b"\r\n", LARGE_OCTETS)
    content = _header(f"{c.name}-large-eight-bit", *_EIGHT) + body
    return Letter("large-eight-bit", c, content, body="8BITMIME")


KINDS: dict[str, Callable[[Combination], Letter]] = {
    "seven-bit": _seven_bit,
    "eight-bit": _eight_bit,
    "eight-undeclared": _eight_undeclared,
    "utf8-address": _utf8_address,
    "utf8-header": _utf8_header,
    "dots": _dots,
    "long-lines": _long_lines,
    "chunk-borders": _chunk_borders,
    "empty-body": _empty_body,
    "no-newline": _no_newline,
    "large": _large,
    "large-eight-bit": _large_eight_bit,
}
"""What is in each kind stands in docs/interoperability.md."""


def letters_for(combinations: Iterable[Combination], kinds: Iterable[str] = KINDS) -> list[Letter]:
    """Return one letter of each kind for each combination."""
    wanted = list(kinds)
    return [KINDS[kind](combination) for combination in combinations for kind in wanted]
