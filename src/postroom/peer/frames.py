"""Frames between workers: a head and content octets, cut from and put into a stream.

    frame = length of head (4 octets, big-endian) + length of content (4) + head + content

Sans-IO. Content is gathered in pieces and joined once, however it was cut on its way.

Guarantees: 1. memory is bounded by the limits, which are checked before anything is gathered.
Called by: peer.server, peer.client.  Raises: FrameError.
"""

from __future__ import annotations

import struct

from postroom.core.errors import PostroomError

HEAD_OCTETS_MAX = 16 * 1024 * 1024
"""An envelope of some ten thousand recipients with their outcomes."""
CONTENT_OCTETS_MAX = 1 << 30
"""Far above any size limit of a listener: both sides are ours."""
_LENGTHS = struct.Struct("!II")


class FrameError(PostroomError):
    """The other side does not speak this protocol; the connection is closed."""


def frame(head: bytes, content: tuple[bytes, ...] = ()) -> list[bytes]:
    """Return the octets of a frame, in pieces that were not copied."""
    lengths = _LENGTHS.pack(len(head), sum(map(len, content)))
    return [lengths + head, *content]


class FrameReader:
    """Cuts what arrives into frames."""

    __slots__ = ("_head", "_pieces", "_start", "_wanted")

    def __init__(self) -> None:
        self._start = bytearray()
        self._head: bytes | None = None
        self._pieces: list[bytes] = []
        self._wanted = 0

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Take octets and return the frames that are whole by now, as (head, content)."""
        frames: list[tuple[bytes, bytes]] = []
        while True:
            if self._head is None:
                if self._start or not data:
                    self._start += data
                    data = bytes(self._start)
                    self._start.clear()
                found = self._cut_head(data)
                if found is None:
                    self._start += data
                    return frames
                self._head, self._wanted, data = found
            piece, data = data[: self._wanted], data[self._wanted :]
            if piece:
                self._pieces.append(piece)
                self._wanted -= len(piece)
            if self._wanted:
                return frames
            pieces = self._pieces
            content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            frames.append((self._head, content))
            self._head, self._pieces = None, []
            if not data:
                return frames

    def _cut_head(self, data: bytes) -> tuple[bytes, int, bytes] | None:
        """Return (head, length of content, rest), None where the head is not there yet."""
        if len(data) < _LENGTHS.size:
            return None
        head, content = _LENGTHS.unpack_from(data)
        if head > HEAD_OCTETS_MAX or content > CONTENT_OCTETS_MAX:
            raise FrameError(f"a frame of {head} and {content} octets is too long")
        end = _LENGTHS.size + head
        if len(data) < end:
            return None
        return data[_LENGTHS.size : end], content, data[end:]
