"""A forecast is the largest of the times that single limits leave, and says which."""

from __future__ import annotations

import math

import pytest

from postroom.core.limits import Limit, Rate
from postroom.queueing.forecast import (
    Forecast,
    OuterLimit,
    Record,
    SiteWork,
    Workload,
    forecast,
    record_of,
)
from postroom.queueing.lane import LaneKey
from postroom.queueing.pace import PACES_MAX, PaceBook

WIDE = Limit(1000)


def site(name: str, waiting: int, seconds: float = 0.5, **more: float) -> SiteWork:
    known = {"attempts": 10, "recipients": 1.0, **more}
    return SiteWork(name, waiting, seconds=seconds, **known)  # type: ignore[arg-type]


def load(*sites: SiteWork, queue: int = 1, cpu_s: float = 0.0, **more: object) -> Workload:
    return Workload(queue, 500, WIDE, WIDE, cpu_s=cpu_s, sites=sites, **more)  # type: ignore[arg-type]


def told(
    *loads: Workload, channel: Limit = WIDE, site: Limit = WIDE, assumed: Record | None = None
) -> Forecast:
    return forecast("news", loads, channel, site, 2, assumed or Record())


def test_the_channel_binds_where_its_slots_are_few() -> None:
    found = told(load(site("a", 600), site("b", 400)), channel=Limit(10), site=Limit(10))
    assert found.drain_s == pytest.approx(1000 * 0.5 / 10)
    assert found.bounds[0].of == "channel news"
    assert found.bounds[0].why == "1,000 attempts of 0.500 s, 10 at once"


def test_the_slowest_site_binds_over_all_queues() -> None:
    one, two = load(site("a", 300), site("b", 10)), load(site("a", 300, 1.5), queue=2)
    found = told(one, two, channel=Limit(100), site=Limit(20))
    assert found.drain_s == pytest.approx((300 * 0.5 + 300 * 1.5) / 20)
    assert (found.bounds[0].of, found.sites) == ("site a", 2)
    assert [bound.of for bound in found.bounds if bound.of.startswith("site")] == ["site a"]


def test_a_rate_binds_after_what_may_go_at_once() -> None:
    found = told(load(site("a", 1100)), channel=Limit(100, Rate(1000, 3600.0, 100)))
    # 1,000 of 1,100 go one by one; the 901st of an hour waits for the next.
    assert found.bounds[0].of == "channel news"
    assert found.drain_s == pytest.approx(1000 * 3601.0 / 901)


def test_a_limit_of_0_holds_for_ever() -> None:
    found = told(load(site("a", 1)), channel=Limit(0))
    assert math.isinf(found.drain_s)
    assert "held" in found.bounds[0].why


def test_queue_server_and_processors_bind_as_well() -> None:
    server = (OuterLimit("server", Limit(5)),)
    assert told(load(site("a", 100), outer=server)).bounds[0].of == "server"
    assert told(load(site("a", 10_000))).bounds[0].of == "queue1"
    busy = told(load(site("a", 10_000, 0.001), cpu_s=0.001))
    # One worker has one processor, although there are two.
    assert (busy.bounds[0].of, busy.drain_s) == ("queue1", pytest.approx(10.0))
    assert busy.bounds[1].seconds == pytest.approx(5.0)


def test_many_recipients_of_an_attempt_are_one_attempt_and_some_come_back() -> None:
    found = told(load(site("a", 1000, recipients=10.0, left=1.0)), channel=Limit(1))
    assert found.attempts == pytest.approx(100)
    assert found.again == pytest.approx(100)
    assert found.drain_s == pytest.approx(50.0)


def test_sites_without_a_record_are_taken_to_be_like_the_others() -> None:
    loads = [load(site("a", 100, 2.0), SiteWork("new", 100))]
    record = record_of(loads)
    assert (record.attempts, record.seconds) == (10, 2.0)
    assert told(*loads, channel=Limit(1), assumed=record).drain_s == pytest.approx(400.0)


def test_nothing_takes_no_time() -> None:
    found = told(load(SiteWork("a", deferred=5, held=2)))
    assert (found.drain_s, found.bounds, found.deferred, found.held) == (0.0, (), 5, 2)


def test_no_forecast_is_shorter_than_one_attempt() -> None:
    assert told(load(site("a", 1, 30.0))).drain_s == pytest.approx(30.0)


def test_the_pace_follows_what_is_seen_and_memory_is_bounded() -> None:
    book = PaceBook()
    key = LaneKey("news", "a")
    for _ in range(50):
        book.note(key, 1.0, 2, 1)
    assert book.of("news")["a"].seconds == pytest.approx(1.0)
    for _ in range(1000):
        book.note(key, 3.0, 2, 0)
    pace = book.of("news")["a"]
    assert pace.seconds == pytest.approx(3.0, abs=0.01)
    assert (pace.attempts, pace.recipients) == (1050, pytest.approx(2.0))
    for number in range(PACES_MAX + 5):
        book.note(LaneKey("bulk", f"s{number}"), 1.0, 1, 0)
    assert len(book.of("bulk")) == PACES_MAX
    assert book.of("news") == {}
