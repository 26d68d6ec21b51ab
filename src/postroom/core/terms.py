"""What a sender asks for beside delivery: when it may begin, how urgent it is, until when.

Most mail asks for none of it; then an envelope has no terms at all.

Called by: all layers.  Raises: ValueError for text that is no moment.
RFCs: RFC 2852, RFC 4865, RFC 6710, RFC 3339.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec


class Terms(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The terms of one message.

    `release_at` is when it may be tried first, in seconds since the epoch, 0 for at once; its
    lifetime counts from then. `hold_for_s` is the interval that was asked for, 0 where a moment
    was (RFC 4865). `priority` is from -9 to 9, more is more urgent (RFC 6710). `deliver_by` is
    when it is to have been delivered, 0 for no such wish; where that fails it is returned
    (`by_mode` "R") or its sender is told and it goes on ("N"). With `by_trace` the sender wants
    to hear of each relay (RFC 2852).
    """

    release_at: float = 0.0
    hold_for_s: int = 0
    priority: int = 0
    deliver_by: float = 0.0
    by_mode: str = ""
    by_trace: bool = False

    @property
    def is_nothing(self) -> bool:
        """True where nothing is asked for."""
        return self == NO_TERMS

    def released(self, at: float) -> Terms:
        """Return the terms of scheduled mail that is released at another time."""
        deliver_by = self.deliver_by and self.deliver_by + at - self.release_at
        return msgspec.structs.replace(self, release_at=at, deliver_by=deliver_by)


NO_TERMS = Terms()

LATEST = 253_402_300_799.0
"""The last moment that has a date: the end of 9999."""

PRIORITIES = range(-9, 10)
"""RFC 6710 §3: from -9 to 9."""


def parse_moment(text: str) -> float:
    """Return the seconds since the epoch of "2026-12-01T08:00Z"; seconds may be left out."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text.upper():
        raise ValueError(f'{text!r} is no moment with its time zone ("2026-12-01T08:00Z")')
    try:
        return moment.timestamp()
    except (OverflowError, ValueError):
        raise ValueError(f"{text!r} lies too far away") from None


def format_moment(moment: float) -> str:
    """Return a moment as RFC 3339 §5.6 writes it, in UTC, to the second."""
    # strftime writes years before 1000 with fewer digits than can be read again.
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")[:-6] + "Z"
