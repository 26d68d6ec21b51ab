"""Receives the content of one message, by DATA or in BDAT chunks.

Owns where content ends, dot stuffing, and every check of content: size, line length, bare
CR and LF, hops. The first failure drops what was kept, and the rest is read and dropped,
so that the reply comes where the protocol has a place for it; but not for ever.

Guarantees: 1. only CRLF.CRLF ends DATA, wherever the input is cut.  2. Content that is
given out has no bare CR or LF and ends in CRLF.  3. Memory held is reserved first, and
`reserved_octets` says how much.  4. No loop over lines.
Called by: smtp.server.  Raises: nothing.
RFCs: RFC 5321 §4.5.2, RFC 5321 §2.3.8, RFC 3030 §2.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from postroom.core.reply import Reply
from postroom.smtp.content_limits import ContentLimits

_END = b"\r\n.\r\n"
_BARE_NEWLINE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# RFC 5321 §4.5.3.1.6 promises senders 1,000 octets in a text line. Programs that write HTML
# send far longer ones, and cutting them would break signatures, so lines pass unchanged.
# The bound keeps the next host's line buffer in sight; no mail program reaches it.
LINE_OCTETS_MAX = 65_536
# Small pieces are joined up to this size, so that a client that sends octet by octet does
# not make us hold an object for each.
_PIECE_OCTETS = 16_384
# Header sections longer than this are searched for Received headers only so far: new ones
# are added in front, so a loop shows here.
_HEADER_SCAN_OCTETS = 262_144

# RFC 5321 §2.3.8: CR and LF occur only together. What one host takes for the end of a line
# another does not, and between the two a second message can be smuggled.
BARE_NEWLINE = Reply(550, "5.6.11", "Bare CR or LF in content is not allowed")
LINE_TOO_LONG = Reply(554, "5.6.0", f"Line longer than {LINE_OCTETS_MAX} octets")
TOO_BIG = Reply(552, "5.3.4", "Message size exceeds the limit")
NO_MEMORY = Reply(452, "4.3.1", "Too much mail is being received, try again later")
# RFC 5321 §6.3: a simple count of Received headers detects a loop.
TOO_MANY_HOPS = Reply(554, "5.4.6", "Too many hops, this looks like a mail loop")


class ContentReceiver:
    """The content of one message while it arrives."""

    __slots__ = (
        "_carry",
        "_discarded_octets",
        "_discarding_since",
        "_end_of_line",
        "_limits",
        "_line_octets",
        "_pieces",
        "_release",
        "_reserve",
        "_virtual",
        "failure",
        "reserved_octets",
        "size_octets",
    )

    def __init__(
        self,
        limits: ContentLimits,
        reserve: Callable[[int], bool],
        release: Callable[[int], None],
    ) -> None:
        self._limits = limits
        self._reserve = reserve
        self._release = release
        self._pieces: list[bytes] = []
        self._virtual = True
        # Content starts at the start of a line: as if a CRLF stood before it.
        self._carry = b"\r\n"
        self._line_octets = 0
        self._end_of_line = True
        self._discarded_octets = 0
        self._discarding_since: float | None = None
        self.failure: Reply | None = None
        self.reserved_octets = 0
        self.size_octets = 0

    def feed_data(self, data: bytes) -> bytes | None:
        """Take octets of DATA; return what follows the end of data, None before it."""
        if self._carry:
            data = self._carry + data
        end = data.find(_END)
        if end >= 0:
            self._carry = b""
            piece = data[: end + 2]
            rest = data[end + 5 :]
        else:
            held = _held_back(data)
            self._carry = data[len(data) - held :]
            piece = data[: len(data) - held]
            rest = None
        if piece:
            # RFC 5321 §4.5.2: a dot that starts a line was added by the sender.
            piece = piece.replace(b"\r\n.", b"\r\n")
            if self._virtual:
                self._virtual = False
                piece = piece[2:]
            self._add(piece)
        return rest

    def feed_chunk(self, data: bytes, *, last: bool) -> None:
        """Take octets of a BDAT chunk; `last` marks the end of the whole content."""
        # RFC 3030 §2: octets count, there is no dot stuffing.
        if self._virtual:
            self._virtual = False
            self._carry = b""
        if self._carry:
            data = self._carry + data
            self._carry = b""
        if data.endswith(b"\r") and not last:
            self._carry = b"\r"
            data = data[:-1]
        self._add(data)

    def finish(self) -> tuple[bytes, ...]:
        """Return the content, in pieces; `failure` must be asked afterwards."""
        if self.failure is None and not self._end_of_line:
            # RFC 3030 §2 lets BDAT end without CRLF; DATA to the next host cannot, so the
            # line is completed here, once.
            self._add(b"\r\n")
        if self.failure is None and self._hops() >= self._limits.hops_max:
            self.fail(TOO_MANY_HOPS)
        pieces = tuple(self._pieces)
        self._pieces = []
        return pieces

    def fail(self, reply: Reply) -> None:
        """Refuse the message; what was kept is dropped."""
        if self.failure is None:
            self.failure = reply
        self.drop()

    @property
    def is_endless(self) -> bool:
        """True once more was read after a failure than anybody sends by mistake."""
        return self._discarded_octets > self._limits.discard_octets_max

    def is_overdue(self, now: float) -> bool:
        """Say whether content that failed should have ended; asked now and then."""
        if self.failure is None:
            return False
        if self._discarding_since is None:
            self._discarding_since = now
        return now - self._discarding_since >= self._limits.discard_s

    def drop(self) -> None:
        """Forget the content, and give the memory back."""
        self._pieces = []
        if self.reserved_octets:
            self._release(self.reserved_octets)
            self.reserved_octets = 0

    def _add(self, piece: bytes) -> None:
        if not piece or self.failure is not None:
            self.size_octets += len(piece)
            self._discarded_octets += len(piece)
            return
        # Each CR and each LF is half of a CRLF if there are twice as many of them.
        if len(piece) - len(piece.translate(None, b"\r\n")) != 2 * piece.count(b"\r\n"):
            if not self._limits.normalise:
                self.fail(BARE_NEWLINE)
                return
            piece = _BARE_NEWLINE.sub(b"\r\n", piece)
        size = len(piece)
        self.size_octets += size
        if self.size_octets > self._limits.size_octets_max:
            self.fail(TOO_BIG)
        elif not self._lines_fit(piece):
            self.fail(LINE_TOO_LONG)
        elif not self._reserve(size):
            self.fail(NO_MEMORY)
        else:
            self.reserved_octets += size
            self._end_of_line = piece.endswith(b"\n")
            if self._pieces and len(self._pieces[-1]) + size <= _PIECE_OCTETS:
                self._pieces[-1] += piece
            else:
                self._pieces.append(piece)

    def _lines_fit(self, piece: bytes) -> bool:
        # From one line end the furthest that is allowed is searched backwards, so that a
        # step covers nearly LINE_OCTETS_MAX octets however short the lines are.
        start, size = -self._line_octets, len(piece)
        while start + LINE_OCTETS_MAX < size:
            newline = piece.rfind(b"\n", max(start, 0), start + LINE_OCTETS_MAX)
            if newline < 0:
                return False
            start = newline + 1
        newline = piece.rfind(b"\n")
        self._line_octets = size - newline - 1 if newline >= 0 else self._line_octets + size
        return True

    def _hops(self) -> int:
        head = self._pieces[0] if self._pieces else b""
        end = head.find(b"\r\n\r\n")
        if end < 0 and len(self._pieces) > 1:
            head = b"".join(self._pieces[: 1 + _HEADER_SCAN_OCTETS // _PIECE_OCTETS])
            head = head[:_HEADER_SCAN_OCTETS]
            end = head.find(b"\r\n\r\n")
        section = (head if end < 0 else head[:end]).lower()
        return section.count(b"\nreceived:") + section.startswith(b"received:")


def _held_back(data: bytes) -> int:
    """Return how many last octets may be the start of CRLF.CRLF."""
    match data[-1:]:
        case b"\n":
            return 2 if data.endswith(b"\r\n") else 0
        case b".":
            return 3 if data.endswith(b"\r\n.") else 0
        case b"\r":
            return 4 if data.endswith(b"\r\n.\r") else 1
        case _:
            return 0
