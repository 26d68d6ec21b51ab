"""Rates: at most so many in any interval, whatever the order of lending, using and giving back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.limits import Rate, format_rate, parse_rate
from postroom.shaping.rates import Meter, lent_s
from tests.support.examples import examples


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50/1h", Rate(50, 3600)),
        ("1000 / 1m burst 20", Rate(1000, 60, 20)),
        ("1/90s", Rate(1, 90)),
    ],
)
def test_rates_are_read_and_written(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(format_rate(rate)) == rate


@pytest.mark.parametrize(
    "text", ["", "50", "50/h", "0/1h", "5/1ms", "5/40d", "5/1h burst 6", "x/1h"]
)
def test_what_is_no_rate_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|is not a duration"):
        parse_rate(text)


def test_fifty_an_hour_are_fifty_in_the_first_hour_and_not_all_at_once() -> None:
    meter, used, now = Meter(Rate(50, 3600)), [], 0.0
    while now < 7300:
        if meter.available(now):
            meter.lend(1, now)
            used.append(now)
        now += 1.0
    assert sum(at < 3600 for at in used) == 50
    assert sum(at < 10 for at in used) == 1
    assert 97 <= sum(at < 7200 for at in used) <= 100


@given(
    rate=st.builds(
        lambda count, interval, burst: Rate(count, interval, min(burst, count)),
        st.integers(1, 60), st.floats(0.2, 100), st.integers(0, 20),
    ),
    steps=st.lists(
        st.tuples(st.floats(0, 0.3), st.integers(1, 9), st.floats(0, 1), st.booleans()),
        max_size=200,
    ),
)  # fmt: skip
@examples(150)
def test_in_any_interval_at_most_the_count_is_used(
    rate: Rate, steps: list[tuple[float, int, float, bool]]
) -> None:
    meter, now, used, unused = Meter(rate), 1000.0, [], []
    for wait, wanted, delay, is_used in steps:
        now += wait * rate.interval_s
        tokens = min(wanted, meter.available(now))
        if not tokens:
            continue
        assert tokens <= rate.at_once
        meter.lend(tokens, now)
        if is_used:
            used += [now + delay * lent_s(rate)] * tokens
        else:
            unused.append((now, tokens))
        if unused and delay < 0.5:
            # Some come back late, and not in the order in which they were lent.
            since, tokens = unused.pop(int(delay * 2 * len(unused)))
            meter.take_back(tokens, since)
    used.sort()
    for first in used:
        # Half open: what is used exactly an interval later is in the next one.
        inside = [at for at in used if first <= at < first + rate.interval_s - 1e-6]
        assert len(inside) <= rate.count


@pytest.mark.parametrize("rate", [Rate(3, 3600, 3), Rate(10, 1)])
def test_what_comes_back_is_there_again_though_it_is_not_known_when_it_was_lent(rate: Rate) -> None:
    meter = Meter(rate)
    for now in (1000.0, 1000.2, 1000.3):
        assert meter.available(now)
        meter.lend(1, now)
        meter.take_back(1, now - 1.0)
    assert meter.available(1000.3) == rate.at_once


def test_what_comes_back_from_before_a_limit_was_free_again_is_worth_nothing() -> None:
    meter = Meter(Rate(3, 60, 3))
    meter.lend(1, 1000.0)
    meter.lend(3, 1100.0)
    meter.take_back(1, 1000.0)
    assert not meter.available(1100.0)
    meter.take_back(1, 1099.0)
    assert meter.available(1100.0) == 1


def test_all_that_is_asked_for_goes_at_nearly_the_rate() -> None:
    rate = Rate(1000, 60)
    meter, now, used = Meter(rate), 0.0, 0
    while now < 600:
        if tokens := meter.available(now):
            meter.lend(tokens, now)
            used += tokens
        now = max(now + 0.001, meter.next_at(now))
    assert 9700 <= used <= 10_000


def test_a_clock_that_was_set_back_stops_nothing_for_longer_than_an_interval() -> None:
    meter = Meter(Rate(10, 60), arrival_at=1e9)
    assert meter.next_at(1000.0) <= 1000.0 + 70
