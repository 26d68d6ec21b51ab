"""From CRLF on the wire to LF on disk, over pieces of content in order.

Guarantees: only CR before LF is dropped, also where the two lie in different pieces.
Called by: delivery.maildir, delivery.pipe.  Raises: nothing.
"""

from __future__ import annotations


class LineEnds:
    """Converts one content."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def to_lf(self, piece: bytes) -> bytes:
        """Return `piece` with LF line ends; a CR at its end is held back."""
        if not piece:
            return piece
        if self._held:
            piece = self._held + piece
            self._held = b""
        if piece[-1] == 0x0D:
            piece, self._held = piece[:-1], b"\r"
        return piece.replace(b"\r\n", b"\n")

    def end(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return held
