"""Breakers of hosts: passed over while down, probed, spared at first, forgotten in the end."""

from __future__ import annotations

import random

from postroom.shaping.hosts import (
    ASK_SHARE,
    FORGET_S,
    HALF_OPEN_S,
    HOSTS_MAX,
    JITTER,
    RAMP_FIRST,
    RAMP_MAX_S,
    RAMP_STEPS,
    Breaker,
    Hosts,
    Interval,
)

PROBE_S = 30.0
INTERVAL = Interval(PROBE_S, 300.0)


def state(hosts: Hosts) -> Breaker | None:
    known = hosts.known("a:25")
    return known.state if known is not None else None


def test_a_host_that_failed_is_down_until_it_works() -> None:
    hosts = Hosts()
    assert hosts.failed("a:25", 100.0, "refused") and not hosts.failed("a:25", 101.0, "refused")
    assert hosts.is_down("a:25", 102.0) and not hosts.is_down("b:25", 102.0)
    assert [one.error for one in hosts.down(102.0)] == ["refused"]
    assert hosts.works("a:25", 103.0) and not hosts.works("a:25", 103.0)
    assert not hosts.is_down("a:25", 103.0)


def test_a_breaker_is_open_half_open_while_it_is_probed_and_closes_by_a_ramp() -> None:
    hosts = Hosts()
    assert state(hosts) is None
    hosts.failed("a:25", 100.0, "refused")
    assert state(hosts) is Breaker.OPEN
    hosts.probed("a:25", 130.0)
    assert state(hosts) is Breaker.HALF_OPEN
    hosts.failed("a:25", 131.0, "refused")
    assert state(hosts) is Breaker.OPEN
    hosts.works("a:25", 200.0)
    assert state(hosts) is Breaker.RAMP
    hosts.room("a:25", 200.0 + INTERVAL.ramp_s, INTERVAL)
    assert state(hosts) is None


def test_it_is_probed_after_the_interval_and_others_ask_later() -> None:
    hosts = Hosts()
    hosts.failed("a:25", 100.0, "refused")
    assert not hosts.is_due("a:25", 100.0 + PROBE_S - 1, INTERVAL)
    assert hosts.is_due("a:25", 100.0 + PROBE_S, INTERVAL)
    hosts.asked("a:25", 130.0)
    assert not hosts.is_due("a:25", 131.0, INTERVAL), "somebody asks already"
    assert hosts.is_due("a:25", 130.0 + PROBE_S * ASK_SHARE, INTERVAL)
    hosts.failed("a:25", 150.0, "refused")
    assert not hosts.is_due("a:25", 150.0 + PROBE_S - 1, INTERVAL), "the interval begins anew"


def test_while_one_probe_is_under_way_there_is_no_other() -> None:
    hosts = Hosts()
    hosts.failed("a:25", 100.0, "refused")
    hosts.probed("a:25", 130.0)
    assert not hosts.is_due("a:25", 130.0 + HALF_OPEN_S - 1, INTERVAL)
    assert hosts.is_due("a:25", 130.0 + HALF_OPEN_S, INTERVAL), "nothing came of it"


def test_the_interval_doubles_with_each_probe_that_fails_up_to_a_bound_and_by_chance() -> None:
    hosts, at = Hosts(), 0.0
    hosts.failed("a:25", at, "refused")
    lengths = []
    for _ in range(6):
        known = hosts.known("a:25")
        assert known is not None
        lengths.append(known.due_at(INTERVAL) - at)
        at = known.due_at(INTERVAL)
        hosts.probed("a:25", at)
        hosts.failed("a:25", at, "refused")
        hosts.failed("a:25", at, "refused")
    assert lengths == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0], "each probe counts once"
    jittered = Hosts(random.Random(1))
    seen = set()
    for number in range(50):
        jittered.failed(f"h{number}:25", 0.0, "refused")
        known = jittered.known(f"h{number}:25")
        assert known is not None
        assert PROBE_S <= known.due_at(INTERVAL) <= PROBE_S * (1 + JITTER)
        seen.add(known.due_at(INTERVAL))
    assert len(seen) > 40


def test_what_other_queues_found_out_counts_for_the_interval() -> None:
    hosts = Hosts()
    hosts.failed("a:25", 0.0, "refused", failures=3)
    assert not hosts.is_due("a:25", 239.0, INTERVAL) and hosts.is_due("a:25", 240.0, INTERVAL)


def test_a_host_that_works_again_is_spared_at_first() -> None:
    hosts = Hosts()
    assert hosts.room("a:25", 0.0, INTERVAL) is None
    hosts.failed("a:25", 0.0, "refused")
    hosts.works("a:25", 100.0)
    rooms = [
        hosts.room("a:25", 100.0 + (step + 0.5) * PROBE_S / RAMP_STEPS, INTERVAL)
        for step in range(RAMP_STEPS + 1)
    ]
    assert rooms == [*(RAMP_FIRST << step for step in range(RAMP_STEPS)), None]
    assert len(hosts) == 0, "and then nothing is known of it any more"


def test_a_host_that_fails_while_it_is_spared_is_left_alone_for_longer() -> None:
    hosts = Hosts()
    hosts.failed("a:25", 0.0, "refused")
    hosts.works("a:25", 100.0)
    assert not hosts.failed("a:25", 101.0, "timed out", began_at=70.0), "that began before"
    assert not hosts.is_down("a:25", 101.0)
    assert hosts.failed("a:25", 102.0, "refused", began_at=101.0)
    known = hosts.known("a:25")
    assert known is not None and known.interval_s(INTERVAL) == 2 * PROBE_S


def test_what_is_not_heard_of_again_is_forgotten_and_memory_is_bounded() -> None:
    hosts = Hosts()
    hosts.failed("a:25", 0.0, "refused")
    assert not hosts.is_down("a:25", FORGET_S + 1) and len(hosts) == 0
    hosts.failed("a:25", 0.0, "refused")
    hosts.works("a:25", 1.0)
    assert hosts.expire(1.0 + RAMP_MAX_S) == [] and len(hosts) == 0
    for number in range(HOSTS_MAX + 5):
        hosts.failed(f"h{number}:25", float(number), "x")
        hosts.vouch(f"v{number}:25", float(number))
        hosts.strike(f"s{number}:25", float(number))
    assert len(hosts) == HOSTS_MAX and not hosts.is_down("h0:25", HOSTS_MAX + 5)
    assert not hosts.is_vouched("v0:25", 1.0)
