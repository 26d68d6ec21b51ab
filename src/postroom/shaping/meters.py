"""The meters of limits, and what is kept of those that nobody uses for a while.

Owns, by limit, how far rates and plans by days are used up: over the life of a ledger, and over
restarts, for which `arrivals` and `uses` are to be kept.

Pure.  Called by: shaping.governor.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from postroom.core.limits import Limit, LimitKey, day_of
from postroom.shaping.days import DayMeter
from postroom.shaping.rates import Meter

AnyMeter = Meter | DayMeter
Live = Iterable[tuple[LimitKey, AnyMeter | None]]
Uses = dict[LimitKey, tuple[int, int]]
"""By limit: the day, and what was used on it."""


class Meters:
    """Makes meters, and remembers those that are not used."""

    def __init__(self) -> None:
        self._arrivals: dict[LimitKey, float] = {}
        self._uses: Uses = {}
        self._bursts_gone_at = 0.0

    def of(self, key: LimitKey, limit: Limit) -> AnyMeter | None:
        """Return the meter of a limit, which goes on where it was; None where it needs none."""
        if limit.plan is not None:
            return DayMeter(limit.plan, *self._uses.pop(key, (0, 0)))
        if limit.rate is None:
            return None
        arrival_at = self._arrivals.pop(key, 0.0)
        if self._bursts_gone_at:
            every_s = Meter(limit.rate).every_s
            arrival_at = max(arrival_at, self._bursts_gone_at + limit.rate.at_once * every_s)
        return Meter(limit.rate, arrival_at)

    def changed(self, key: LimitKey, meter: AnyMeter | None, limit: Limit) -> AnyMeter | None:
        """Return the meter by which another limit goes on."""
        if isinstance(meter, DayMeter) and limit.plan is not None:
            meter.change(limit.plan)
            return meter
        if isinstance(meter, Meter) and limit.rate is not None:
            meter.change(limit.rate)
            return meter
        # What was used stays used, should the limit come back.
        self._remember(key, meter)
        return self.of(key, limit)

    def keep(self, key: LimitKey, meter: AnyMeter | None, now: float) -> None:
        """Remember a meter that nobody uses any more, where it is used up for a while yet."""
        if meter is not None and not meter.is_fresh(now):
            self._remember(key, meter)

    def _remember(self, key: LimitKey, meter: AnyMeter | None) -> None:
        if isinstance(meter, DayMeter):
            self._uses[key] = meter.day, meter.used
        elif meter is not None:
            self._arrivals[key] = meter.arrival_at

    def arrivals(self, live: Live, now: float) -> dict[LimitKey, float]:
        """Return the rates that are used up for some time yet."""
        used = {
            key: meter.arrival_at
            for key, meter in live
            if isinstance(meter, Meter) and not meter.is_fresh(now)
        }
        self._arrivals = {key: at for key, at in self._arrivals.items() if at > now}
        return {**self._arrivals, **used}

    def uses(self, live: Live, now: float) -> Uses:
        """Return what was used today of plans by days."""
        used = {
            key: (meter.day, meter.used)
            for key, meter in live
            if isinstance(meter, DayMeter) and not meter.is_fresh(now)
        }
        for key, (day, number) in list(self._uses.items()):
            if not number or day < day_of(now):
                del self._uses[key]
        return {**self._uses, **used}

    def forget_bursts(self, now: float) -> None:
        """Take every rate as if all that may go at once had just gone: it may have."""
        self._bursts_gone_at = now

    def remember(self, arrivals: dict[LimitKey, float], uses: Uses) -> None:
        """Take meters as they were kept."""
        self._arrivals.update(arrivals)
        self._uses.update(uses)
