"""Times of events as octets: RFC 3339 in UTC with milliseconds, which compare as they stand.

Called by: observe.stream, observe.lines.  Raises: nothing.
"""

from __future__ import annotations

import time

EARLIEST, LATEST = 0.0, 253_402_300_799.0
"""1970 to the end of 9999."""


def as_time(moment: float) -> bytes:
    """Return a moment, seconds since 1970, as events have it."""
    millisecond = int(min(max(moment, EARLIEST), LATEST) * 1000)
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(millisecond // 1000))
    return f"{second}.{millisecond % 1000:03d}Z".encode()
