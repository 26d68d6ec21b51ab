"""Values of the policy hooks: what a hook is told, and what it may answer.

Frozen; no secret is in them. A wrong answer cannot be made: construction checks it.
Called by: policy files, hooks.runner, ingress.  Raises: ValueError for a wrong answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from postroom.core.reply import Reply

_ENHANCED = re.compile(r"[45]\.\d{1,3}\.\d{1,3}\Z")
_FOLD = re.compile(rb"\r\n[ \t]+")
TEXT_MAX = 400


class Client:
    """Who is at the other end of a session.

    `address` is "" for programs of this machine; `user` is who authenticated, "" before that;
    `listener` is the name of the listener ("local" for programs of this machine); `helo` is what
    the client calls itself, `tls` the version of TLS, each "" while there is none.
    """

    __slots__ = ("address", "helo", "listener", "tls", "user")

    def __init__(
        self, address: str, listener: str, user: str = "", helo: str = "", tls: str = ""
    ) -> None:
        self.address = address
        self.listener = listener
        self.user = user
        self.helo = helo
        self.tls = tls

    def __repr__(self) -> str:
        return f"Client({self.address!r}, {self.listener!r}, user={self.user!r})"


class Message:
    """A whole message, before it is accepted.

    `sender` is the reverse-path ("" for a report), `recipients` their addresses, `size_octets`
    the length of the content. The header is looked at only where `header` or `headers` asks.
    """

    __slots__ = ("_content", "_head", "client", "recipients", "sender", "size_octets")

    def __init__(
        self, client: Client, sender: str, recipients: Sequence[str], content: Sequence[bytes]
    ) -> None:
        self.client = client
        self.sender = sender
        self.recipients = tuple(recipients)
        self.size_octets = sum(map(len, content))
        self._content = content
        self._head: bytes | None = None

    def headers(self, name: str) -> list[str]:
        """Return the values of all header fields of a name, unfolded, the first one first."""
        if self._head is None:
            whole = b"".join(self._content)
            end = whole.find(b"\r\n\r\n")
            self._head = b"\r\n" + (whole if end < 0 else whole[:end]) + b"\r\n"
        pattern = rb"(?i)\r\n" + re.escape(name.encode("ascii", "replace")) + rb"[ \t]*:"
        values = []
        unfolded = _FOLD.sub(b" ", self._head)
        for found in re.finditer(pattern, unfolded):
            line = unfolded[found.end() : unfolded.find(b"\r\n", found.end())]
            values.append(line.decode("utf-8", "replace").strip())
        return values

    def header(self, name: str) -> str:
        """Return the value of the first header field of a name; "" where there is none."""
        return next(iter(self.headers(name)), "")


class _Answer:
    """A reply; `Refuse` and `Defer` say of which kind."""

    __slots__ = ("reply",)
    FIRST = ""
    DEFAULT = (0, "")

    def __init__(self, text: str, code: int = 0, enhanced: str = "") -> None:
        code = code or self.DEFAULT[0]
        enhanced = enhanced or self.DEFAULT[1]
        if not isinstance(code, int) or str(code)[:1] != self.FIRST or not 400 <= code <= 599:
            raise ValueError(f"{code} is no code of {type(self).__name__}: {self.FIRST}00 and up")
        if not _ENHANCED.match(enhanced) or enhanced[0] != self.FIRST:
            raise ValueError(
                f"{enhanced} is no enhanced status code: {self.FIRST}.7.1 for instance"
            )
        if not isinstance(text, str) or not text.isprintable() or not 0 < len(text) <= TEXT_MAX:
            raise ValueError(f"the text is one line of at most {TEXT_MAX} characters")
        self.reply = Reply(code, enhanced, text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reply})"


class Refuse(_Answer):
    """Refuse for good: `Refuse("not here")` is 550 5.7.1."""

    __slots__ = ()
    FIRST = "5"
    DEFAULT = (550, "5.7.1")


class Defer(_Answer):
    """Refuse for now: `Defer("come again")` is 451 4.7.1."""

    __slots__ = ()
    FIRST = "4"
    DEFAULT = (451, "4.7.1")


class Hold:
    """Accept and hold for a reason, until an operator releases it."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        if not isinstance(reason, str) or not reason.isprintable() or not reason:
            raise ValueError("the reason is one line of text")
        self.reason = reason[:TEXT_MAX]

    def __repr__(self) -> str:
        return f"Hold({self.reason!r})"
