"""Breakers of hosts: passed over while down, probed in time, forgotten in the end."""

from __future__ import annotations

from postroom.shaping.hosts import ASK_SHARE, FORGET_S, HOSTS_MAX, Hosts

PROBE_S = 30.0


def test_a_host_that_failed_is_down_until_it_works() -> None:
    hosts = Hosts()
    assert hosts.failed("a:25", 100.0, "refused") and not hosts.failed("a:25", 101.0, "refused")
    assert hosts.is_down("a:25", 102.0) and not hosts.is_down("b:25", 102.0)
    assert hosts.error_of("a:25") == "refused"
    assert hosts.works("a:25") and not hosts.works("a:25")
    assert not hosts.is_down("a:25", 102.0)


def test_it_is_probed_after_the_interval_and_others_ask_later() -> None:
    hosts = Hosts()
    hosts.failed("a:25", 100.0, "refused")
    assert not hosts.is_due("a:25", 100.0 + PROBE_S - 1, PROBE_S)
    assert hosts.is_due("a:25", 100.0 + PROBE_S, PROBE_S)
    hosts.asked("a:25", 130.0)
    assert not hosts.is_due("a:25", 131.0, PROBE_S), "somebody asks already"
    assert hosts.is_due("a:25", 130.0 + PROBE_S * ASK_SHARE, PROBE_S)
    hosts.failed("a:25", 150.0, "refused")
    assert not hosts.is_due("a:25", 150.0 + PROBE_S - 1, PROBE_S), "the interval begins anew"


def test_what_is_not_heard_of_again_is_forgotten_and_memory_is_bounded() -> None:
    hosts = Hosts()
    hosts.failed("a:25", 0.0, "refused")
    assert not hosts.is_down("a:25", FORGET_S + 1) and len(hosts) == 0
    for number in range(HOSTS_MAX + 5):
        hosts.failed(f"h{number}:25", float(number), "x")
    assert len(hosts) == HOSTS_MAX and not hosts.is_down("h0:25", HOSTS_MAX + 5)
