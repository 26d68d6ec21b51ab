"""What was used of a rate or a plan stays used when its limit goes and comes back."""

from __future__ import annotations

from postroom.core.limits import DayPlan, Limit, LimitKey, Rate, day_of
from postroom.shaping.meters import Meters

KEY = LimitKey("source", "a")
NOW = 1_764_500_000.0


def test_a_rate_that_comes_back_goes_on_where_it_was() -> None:
    meters, limit = Meters(), Limit(None, Rate(10, 100.0, 5))
    meter = meters.of(KEY, limit)
    assert meter is not None
    meter.lend(5, NOW)
    gone = meters.changed(KEY, meter, Limit(5))
    assert gone is None
    back = meters.changed(KEY, None, limit)
    assert back is not None and back.available(NOW) == 0


def test_a_plan_that_comes_back_the_same_day_has_no_more_than_was_left() -> None:
    meters, limit = Meters(), Limit(plan=DayPlan((50, 100), day_of(NOW)))
    meter = meters.of(KEY, limit)
    assert meter is not None
    meter.lend(50, NOW)
    assert meters.changed(KEY, meter, Limit(5)) is None
    back = meters.changed(KEY, None, limit)
    assert back is not None and back.available(NOW) == 0
