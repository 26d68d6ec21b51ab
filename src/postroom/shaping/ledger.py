"""The ledger of one limit: what each holder has of it and wants, and the words about it.

Claims are what holders say, grants what the lender answers.

Values only; shaping.governor keeps them.  Called by: shaping.governor, engine.lessee,
supervisor.link.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import msgspec

from postroom.core.limits import Limit, LimitKey
from postroom.shaping.days import DayMeter
from postroom.shaping.gate import UNBOUNDED
from postroom.shaping.meters import AnyMeter
from postroom.shaping.needs import NOTHING, Choice
from postroom.shaping.window import Window

SLICE_S = 1.0
"""How long a holder keeps a slot that others wait for, where there are fewer than holders."""


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """A holder: I give back `slots` and `tokens`; I want so many slots in all, tokens more.

    The tokens were lent at `since` at the earliest. Those that are wanted are of use only along
    with as many of each limit of `along`, and of one way of each of `choices`. So many attempts
    went `good` since the last word, and so many were `refused` for being one too many, beside
    `used` that are in use.
    """

    key: LimitKey
    slots: int = 0
    want: int = 0
    tokens: int = 0
    want_tokens: int = 0
    since: float = 0.0
    along: tuple[LimitKey, ...] = ()
    good: int = 0
    refused: int = 0
    used: int = 0
    choices: tuple[Choice, ...] = ()


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """The lender: you have so many slots and tokens more; give back what is above the cap.

    The tokens are good until `until`, wall-clock time. Of a probe nothing at all means: not yet.
    `is_watched`: say how attempts go.
    """

    key: LimitKey
    slots: int = 0
    cap: int = UNBOUNDED
    tokens: int = 0
    until: float = 0.0
    is_watched: bool = False


class Share:
    """What one holder has of one limit."""

    __slots__ = ("cap", "held", "needs", "since", "tokens_since", "used", "want", "want_tokens")

    def __init__(self) -> None:
        self.held = 0
        self.want = 0
        self.used = 0
        """As it last said how attempts went; a block may be more than that."""
        self.cap = UNBOUNDED
        self.since = 0.0
        """Since when it has its slots, or has waited for one."""
        self.want_tokens = 0
        self.needs = NOTHING
        self.tokens_since = 0.0

    @property
    def is_idle(self) -> bool:
        """True where nothing would be lost by forgetting it."""
        return not (self.held or self.want or self.want_tokens) and self.cap == UNBOUNDED


class Ledger:
    """One limit."""

    __slots__ = ("is_watched", "limit", "lingers", "meter", "shares", "window")

    def __init__(self, limit: Limit, meter: AnyMeter | None, window: Window | None) -> None:
        self.limit = limit
        self.lingers = False
        """Tokens of it were lent: kept, to know what comes back."""
        self.window = window
        """What a site takes, where it has said so."""
        self.is_watched = False
        """Whether all holders were told to say how attempts go."""
        self.shares: dict[int, Share] = {}
        self.meter = meter

    @property
    def tokens_since(self) -> float:
        """Since when a holder wants tokens that has waited longest; none: the end of time."""
        waiting = (one.tokens_since for one in self.shares.values() if one.want_tokens)
        return min(waiting, default=inf)

    def waited_for(self, holder: int) -> int:
        """Return how many slots others could use that a holder has, and nobody else can give."""
        mine, shares = self.shares.get(holder), self.shares
        if mine is None or not mine.held or self.limit.slots is None:
            return 0
        if sum(share.held for share in shares.values()) < self.bound:
            return 0
        missing = sum(max(0, one.want - one.held) for one in shares.values() if one is not mine)
        return min(mine.held, missing)

    def is_over(self, now: float) -> bool:
        """Say whether nothing that comes back would count; of a plan the number used is kept."""
        meter = self.meter
        return meter is None or isinstance(meter, DayMeter) or meter.is_fresh(now)

    @property
    def bound(self) -> int:
        """How many slots there are, by the limit and by what the site takes."""
        bound = UNBOUNDED if self.limit.slots is None else self.limit.slots
        return bound if self.window is None else min(bound, self.window.slots)


def turn_of(share: Share, now: float) -> tuple[int, float]:
    """Grant holders: a slot is kept for a slice; then whoever has waited longest goes first."""
    if not share.held:
        return 1, share.since
    return (0 if now - share.since < SLICE_S else 2), share.since


Rated = tuple[LimitKey, Ledger, AnyMeter]
"""A limit that has a rate or a plan."""


def used_up(rates: Iterable[Rated], now: float) -> Rated | None:
    """Return the first that has no token now."""
    return next((one for one in rates if not one[2].available(now)), None)
