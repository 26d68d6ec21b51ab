"""Ids, cursors of listings, durations, sizes and moments: short texts of strangers.

1. A queue id is parsed to itself or refused; what is derived of one is one, of the same moment.
2. A cursor of the API is parsed to one that is written to the same, or is a problem (422).
3. Durations and sizes are finite, not negative, and written durations are read again.
4. A moment is within the years that can be written, and is written to the same.
"""

from __future__ import annotations

import math

from postroom.api.filtering import decode_cursor, encode_cursor
from postroom.api.problem import Problem
from postroom.control.filter_words import written_duration
from postroom.core.ids import derived_id, parse_queue_id
from postroom.core.terms import format_moment, parse_moment
from postroom.core.units import format_duration, format_size, parse_duration, parse_size
from tests.fuzz.target import Target, spelt


def try_one(octets: bytes) -> None:
    """See the module."""
    text = octets.decode("utf-8", "surrogateescape")
    try:
        queue_id = parse_queue_id(text)
    except ValueError:
        pass
    else:
        assert queue_id == text and text.isascii()
        derived = derived_id(queue_id, "x")
        assert parse_queue_id(derived)[:8] == queue_id[:8]
    try:
        cursor = decode_cursor(text)
    except Problem as problem:
        assert problem.status == 422
    else:
        assert decode_cursor(encode_cursor(cursor)) == cursor
    try:
        seconds = parse_duration(text)
    except ValueError:
        pass
    else:
        assert seconds >= 0 and math.isfinite(seconds), f"a duration of {seconds}"
        assert format_duration(seconds)
        assert parse_duration(written_duration(seconds)) == seconds
    try:
        size = parse_size(text)
    except ValueError:
        pass
    else:
        assert size >= 0 and format_size(size)
    try:
        moment = parse_moment(text)
    except ValueError:
        pass
    else:
        assert abs(parse_moment(format_moment(moment)) - moment) <= 1


TARGET = Target(
    "identifiers",
    try_one,
    ["postroom.core.ids", "postroom.core.units", "postroom.core.terms", "postroom.api.filtering"],
    seeds=spelt(
        r"0123456789abcdef | 1h 30m | 50 MiB | 2026-12-01T08:00:00Z | 2026-12-01T08:00:00.5+01:00"
        r" | gqVhZnRlcqCjbm93ywAAAAAAAAAApXF1ZXVlAA | 1.5d2ms | 99999999999999999999w"
    ),
    words=spelt(
        r"ms | s | m | h | d | w | KiB | TiB | 9999-12-31T23:59:60 | 0001-01-01T00:00:00"
        r" | +14:00 | Z"
    ),
    octets_max=512,
)
