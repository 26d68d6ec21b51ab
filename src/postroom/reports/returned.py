"""What of the original message a DSN gives back: all of it, or its header.

Guarantees: never more than FULL_MAX_OCTETS are held, however large the message is.
Called by: engine, reports.dsn.  Raises: ContentCorrupt, from the content.
RFCs: 3461; 3464.
"""

from __future__ import annotations

import msgspec

from postroom.core.message import Content
from postroom.reports.decide import ReportKind

FULL_MAX_OCTETS = 1024 * 1024
"""Larger messages are never returned whole; the sender has them."""
UNASKED_MAX_OCTETS = 50 * 1024
"""Up to this size a failed message is returned whole where the sender did not say."""
HEADER_MAX_OCTETS = 64 * 1024

_END_OF_HEADER = b"\r\n\r\n"


class ReturnedContent(msgspec.Struct, frozen=True):
    """Octets to give back, with CRLF line ends: a header, or a whole message."""

    octets: bytes = b""
    is_whole: bool = False


def returns_whole(kind: ReportKind, ret: str, size_octets: int) -> bool:
    """Say whether a DSN carries the whole message."""
    # RFC 3461 §4.3: RET is about failures; all other DSNs return only the header.
    if kind is not ReportKind.FAILED or ret == "HDRS":
        return False
    return size_octets <= (FULL_MAX_OCTETS if ret == "FULL" else UNASKED_MAX_OCTETS)


async def read_returned(kind: ReportKind, ret: str, content: Content) -> ReturnedContent:
    """Read what a DSN of this kind gives back, and no more than that."""
    is_whole = returns_whole(kind, ret, content.size_octets)
    limit = FULL_MAX_OCTETS if is_whole else HEADER_MAX_OCTETS
    kept = bytearray()
    async for chunk in content.chunks():
        looked_at = max(0, len(kept) - len(_END_OF_HEADER))
        kept += chunk[: limit - len(kept)]
        if not is_whole and (kept.find(_END_OF_HEADER, looked_at) >= 0 or len(kept) >= limit):
            break
    octets = bytes(kept)
    return ReturnedContent(octets if is_whole else header_of(octets), is_whole)


def header_of(octets: bytes) -> bytes:
    """Return the header of a message, its last line end included, at most HEADER_MAX_OCTETS."""
    if octets.startswith(b"\r\n"):
        return b""
    end = octets.find(_END_OF_HEADER, 0, HEADER_MAX_OCTETS)
    if end >= 0:
        return octets[: end + 2]
    if len(octets) <= HEADER_MAX_OCTETS and octets.endswith(b"\r\n"):
        return octets
    # Cut in the middle: what is left of the last line would be no field.
    return octets[: octets.rfind(b"\r\n", 0, HEADER_MAX_OCTETS) + 2] if b"\r\n" in octets else b""
