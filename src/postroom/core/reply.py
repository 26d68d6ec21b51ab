"""Replies: a code, an enhanced status code and text.

RFC 5321 §4.2 gives the code, RFC 3463 the enhanced status code. What a remote host said
and what we say ourselves have the same shape, so that outcomes, logs and DSNs need one.

Called by: all layers.  Raises: nothing.
"""

from __future__ import annotations

from typing import NewType

import msgspec

EnhancedStatusCode = NewType("EnhancedStatusCode", str)
"""`class.subject.detail`, RFC 3463 §2, as text: "4.4.1"."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One reply, ours or a remote host's.

    `code` is three digits, 200 to 599. `enhanced` is "" where none was given. `text` has
    no CR; the lines of a multi-line reply are joined by LF.
    """

    code: int
    enhanced: str
    text: str

    @property
    def is_positive(self) -> bool:
        """2xx: done."""
        return 200 <= self.code < 300

    @property
    def is_intermediate(self) -> bool:
        """3xx: go on (after DATA or AUTH)."""
        return 300 <= self.code < 400

    @property
    def is_transient(self) -> bool:
        """4xx: try again later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5xx: do not try again."""
        return self.code >= 500

    def encode(self) -> bytes:
        """Return the reply as it goes on the wire, CRLF included."""
        lines = self.text.split("\n")
        prefix = f"{self.enhanced} " if self.enhanced else ""
        last = len(lines) - 1
        return "".join(
            f"{self.code}{' ' if number == last else '-'}{prefix}{line}\r\n"
            for number, line in enumerate(lines)
        ).encode("utf-8", "replace")

    def __str__(self) -> str:
        text = self.text.replace("\n", " / ")
        return f"{self.code} {self.enhanced} {text}" if self.enhanced else f"{self.code} {text}"
