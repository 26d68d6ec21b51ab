"""Replies from the octets a server sends.

Owns the buffer between what the network gives and whole replies. A reply is understood as
leniently as can be done safely: a line may end in LF alone, the text may be absent, the
enhanced status code may be absent or wrong (then it is text).

Guarantees: 1. the same octets give the same replies however they are split.  2. No more
than LINE_OCTETS_MAX plus one reply's text is kept.  3. After `broken` is set nothing more
is read; the replies before it were given.
Called by: smtp.client.  Raises: nothing; see `broken`.
RFC 5321 §4.2, RFC 2034 §4, RFC 3463 §2.
"""

from __future__ import annotations

import re

from postroom.core.reply import EnhancedStatusCode, Reply

LINE_OCTETS_MAX = 8192
"""RFC 5321 §4.5.3.1.5 allows 512; hosts send longer ones, so sixteen times that."""

TEXT_OCTETS_MAX = 8192
"""Text of one reply that is kept; what is longer is cut, since it goes to logs and DSNs."""

TEXT_LINES_MAX = 100
"""Lines of one reply that are kept."""

REPLY_LINES_MAX = 1000
"""Lines of one reply after which the server is taken to be hostile or mad."""

_KNOWN_MAX = 16
"""Reply lines remembered: a server says the same few again and again."""

_LINE = re.compile(
    rb"([2-5]\d\d)([- ]?)(?:([245]\.\d{1,3}\.\d{1,3})(?![0-9.]) ?)?(.*)\Z", re.DOTALL
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class ReplyReader:
    """Turns octets into replies; one per connection."""

    __slots__ = ("_buffer", "_enhanced", "_kept", "_known", "_lines", "_texts", "broken")

    def __init__(self) -> None:
        self._buffer = b""
        self._known: dict[bytes, Reply] = {}
        self.broken = ""
        self._clear()

    def _clear(self) -> None:
        self._texts: list[str] = []
        self._lines = 0
        self._kept = 0
        self._enhanced = b""

    @property
    def is_clean(self) -> bool:
        """True where no part of a reply is waiting for its rest."""
        return not self._buffer and not self._lines

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that `data` completes."""
        if self._is_over():
            return []
        if self._buffer:
            data = self._buffer + data
        lines = data.split(b"\n")
        self._buffer = lines.pop()
        known = self._known
        replies = []
        for line in lines:
            reply = None if self._lines else known.get(line)
            if reply is None:
                reply = self._line(line)
                if reply is None:
                    if self._is_over():
                        break
                    continue
            replies.append(reply)
        if len(self._buffer) > LINE_OCTETS_MAX and not self._is_over():
            self.broken = "a reply line is too long"
        if self._is_over():
            self._buffer = b""
        return replies

    def _is_over(self) -> bool:
        return bool(self.broken)

    def _line(self, line: bytes) -> Reply | None:
        """Take one line without its LF; return the reply where it is the last."""
        match = _LINE.match(line.rstrip(b"\r"))
        if match is None or len(line) > LINE_OCTETS_MAX:
            shown = line[:80].decode("ascii", "backslashreplace")
            self.broken = f"not a reply: {shown!r}"
            return None
        code, separator, enhanced, octets = match.groups()
        if enhanced and enhanced[0] != code[0]:
            # RFC 2034 §4: the class of the two codes agrees; where not, it is only text.
            octets, enhanced = enhanced + b" " + octets, None
        if not self._lines:
            self._enhanced = enhanced or b""
        elif enhanced and enhanced != self._enhanced:
            if self._enhanced:
                octets = enhanced + b" " + octets
            else:
                self._enhanced = enhanced
        self._keep(octets)
        self._lines += 1
        if separator == b"-":
            if self._lines >= REPLY_LINES_MAX:
                self.broken = "a reply has too many lines"
            return None
        # RFC 5321 §4.2.1: the lines of a reply should agree; where not, the last decides.
        status = self._enhanced.decode("ascii")
        if status and status[0] != chr(code[0]):
            status = ""
        reply = Reply(int(code), EnhancedStatusCode(status), "\n".join(self._texts))
        if self._lines == 1 and len(self._known) < _KNOWN_MAX and len(line) < 80:
            self._known[line] = reply
        self._clear()
        return reply

    def _keep(self, octets: bytes) -> None:
        room = TEXT_OCTETS_MAX - self._kept
        if len(self._texts) < TEXT_LINES_MAX and room > 0:
            self._kept += min(len(octets), room) + 1
            text = octets[:room].decode("utf-8", "replace")
            self._texts.append(_CONTROL.sub("?", text))
