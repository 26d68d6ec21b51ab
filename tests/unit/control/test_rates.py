"""Rates are differences of counters, over the time between two overviews."""

from __future__ import annotations

import msgspec

from postroom.control.overview import Overview
from postroom.control.rates import LENGTH, History, Rate, host_name, site_name
from postroom.engine.views import Done
from tests.unit.control.overviews import NOW, answer, channel, overview, queue, server, site


def at(seconds: float, accepted: int, done: Done) -> Overview:
    status = queue(accepted=accepted, delivered=done.delivered, failed=done.failed)
    view = server(status, at=NOW + seconds)
    return overview(view, answer(channels=(channel(done=done),), sites=(site(done=done),)))


def test_a_rate_is_what_was_done_between_two_overviews_a_second() -> None:
    history = History()
    history.add(at(0, 10, Done(10, 5, 3, 1)))
    assert history.rate("channel", "default") == Rate() == history.rate("server", "")
    history.add(at(2, 30, Done(40, 15, 5, 3)))
    assert history.rate("channel", "default") == Rate(15.0, 6.0, 1.0)
    assert history.rate("site", site_name("default", "mx.example")) == Rate(15.0, 6.0, 1.0)
    assert history.rate("queue", "1") == Rate(10.0, 6.0, 0.0) == history.rate("server", "")
    assert history.rate("host", host_name("out", "unknown:25")) == Rate()


def test_a_worker_that_began_anew_gives_no_negative_rate() -> None:
    history = History()
    for seconds, count in ((0, 100), (1, 110), (2, 0), (3, 7)):
        history.add(at(seconds, count, Done(count, count)))
    series = history.series("channel", "default")
    assert [one.out for one in series] == [10.0, 0.0, 7.0]


def test_another_master_is_another_history() -> None:
    history = History()
    history.add(at(0, 5, Done(5, 5)))
    history.add(at(1, 6, Done(6, 6)))
    history.add(msgspec.structs.replace(at(2, 9, Done(9, 9)), started_at=NOW))
    assert history.series("channel", "default") == ()


def test_memory_is_bounded_in_time_and_to_the_rows_that_are_shown() -> None:
    history = History()
    for number in range(LENGTH + 20):
        history.add(at(number, number, Done(number, number)))
    assert len(history.series("queue", "1")) == LENGTH
    view = server(at=NOW + 1000)
    history.add(overview(view, answer()))
    assert history.series("site", site_name("default", "mx.example")) == ()


def test_two_overviews_at_nearly_the_same_moment_say_nothing() -> None:
    history = History()
    history.add(at(0, 5, Done(5, 5)))
    history.add(at(0.01, 9, Done(9, 9)))
    assert history.series("queue", "1") == ()
