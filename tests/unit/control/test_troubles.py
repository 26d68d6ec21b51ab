"""What is stuck is named with its reason and the command that helps, worst first."""

from __future__ import annotations

from typing import Any

import pytest

from postroom.control.answers import ChannelStatus, RelayStatus, SourceStatus
from postroom.control.overview import Overview, Trouble
from postroom.control.troubles import TROUBLES_MAX, troubles
from postroom.engine.views import Done, LastError, QueueTenant, Stored
from postroom.shaping.pauses import Pause
from postroom.spool.queue_state import QueueState
from tests.unit.control.overviews import NOW, answer, channel, overview, queue, server, site


def only(found: Overview) -> Trouble:
    [one] = troubles(found)
    return one


def test_a_server_that_is_well_has_no_troubles() -> None:
    assert troubles(overview()) == ()


@pytest.mark.parametrize(
    ("changes", "severity", "reason", "command"),
    [
        ({"queue_state": QueueState.HELD}, "warning", "the queue is held", "queue enable queue1"),
        ({"queue_state": QueueState.DRAINING}, "notice", "the queue drains", "queue enable queue1"),
        (
            {"state": "failed", "pid": 0, "detail": "no such directory.", "starts_at": NOW + 30},
            "critical", "it does not run: no such directory; it starts again in 30s", "queue list",
        ),
        (
            {"heartbeat_age_s": 60.0},
            "critical", "its worker does not answer, and was heard of 1m ago", "status",
        ),
        ({"room": 0}, "critical", "no room for new mail", "queue layout queue1"),
        (
            {"queue_state": QueueState.OFFLINE, "state": "offline", "pid": 0, "recipients": 4},
            "warning", "the queue is offline", "queue enable queue1",
        ),
        ({"state": "waiting", "detail": "pid 7 has it"}, "warning", "pid 7 has it", "status"),
    ],
)  # fmt: skip
def test_a_queue_that_is_not_well(
    changes: dict[str, Any], severity: str, reason: str, command: str
) -> None:
    one = only(overview(server(queue(**changes))))
    assert (one.severity, one.kind, one.name) == (severity, "queue", "queue1")
    assert one.reason.startswith(reason) and one.command == f"postroom {command}"


def test_a_worker_that_did_not_answer_is_named_though_its_row_is_fresh() -> None:
    one = only(overview(server(queue(1), queue(2)), answer(1), silent=(2,)))
    assert (one.name, one.reason) == ("queue2", "its worker does not answer")


def test_delivery_that_is_suspended_comes_first_with_all_the_mail_that_waits() -> None:
    has = channel(stored=Stored(waiting=5))
    found = overview(
        server(queue(queue_state=QueueState.HELD), delivery="suspended"),
        answer(stored=Stored(waiting=5), channels=(has,)),
    )
    first, second = troubles(found)
    assert (first.kind, first.command, first.mail) == ("server", "postroom delivery resume", 5)
    assert second.kind == "queue"


def test_all_queues_above_the_mark_are_a_trouble_only_where_no_more_can_be_made() -> None:
    busy = queue(load_ppm=1_500_000)
    grown = server(busy, is_growing=True, queues_max=1)
    assert "no more than 1 (spool.max)" in only(overview(grown, answer(2))).reason
    assert troubles(overview(server(busy, is_growing=True, queues_max=2), answer(2))) == ()
    assert troubles(overview(server(busy), answer(2))) == ()


@pytest.mark.parametrize(
    ("status", "reason", "command"),
    [
        (
            ChannelStatus("slow", "suspended", concurrency=9),
            "channel slow is suspended by an operator: postroom channel resume slow",
            "postroom channel resume slow",
        ),
        (
            ChannelStatus("slow", "held", concurrency=0),
            "channel slow is held: its concurrency is 0",
            "postroom channel set slow concurrency=10",
        ),
        (
            ChannelStatus("slow", "held", concurrency=9),
            "channel slow is held: its per_site.concurrency is 0",
            "postroom channel set slow per_site.concurrency=5",
        ),
        (
            ChannelStatus("slow", "closed", "its window opens at 08:00", concurrency=9),
            "the hours of channel slow: its window opens at 08:00",
            "postroom why slow",
        ),
    ],
)
def test_a_channel_whose_mail_may_not_be_tried(
    status: ChannelStatus, reason: str, command: str
) -> None:
    has = channel("slow", stored=Stored(waiting=3))
    one = only(overview(server(channels=(status,)), answer(channels=(has,))))
    assert (one.kind, one.name, one.reason, one.command, one.mail) == (
        "channel", "slow", reason, command, 3,
    )  # fmt: skip


def test_a_limit_is_a_trouble_only_for_mail_that_has_waited_for_it() -> None:
    binds = "channel default may have 4 connections, over all queues; this one has 4 of them"
    for waited_s, count in ((5, 0), (600, 1)):
        has = channel(ready=9, oldest_due=NOW - waited_s, binds=binds, binds_site="mx.example")
        found = troubles(overview(None, answer(channels=(has,))))
        assert len(found) == count
    assert (found[0].reason, found[0].command) == (binds, "postroom what-if channel default")


def test_the_limit_of_a_channel_is_not_named_again_for_each_of_its_sites() -> None:
    binds = "channel default may have 4 connections, over all queues"
    of_site = "site b.example may send 1/1h, over all queues"
    rows = (
        site(name="a.example", waiting=5, binds=binds, oldest_due=NOW - 600),
        site(name="b.example", waiting=7, binds=of_site, oldest_due=NOW - 600),
    )
    one = only(overview(None, answer(sites=rows)))
    assert (one.name, one.reason, one.mail) == ("b.example", of_site, 7)


@pytest.mark.parametrize(
    ("rule", "command"), [("", "site purge mx.example"), ("tempfail", "site resume mx.example")]
)
def test_a_site_that_rests_is_named_with_what_it_said(rule: str, command: str) -> None:
    row = site(
        binds="the site rests", rests_until=NOW + 60, rest_reply="421 go away", rest_rule=rule,
        recipients=4,
    )  # fmt: skip
    one = only(overview(None, answer(sites=(row,))))
    assert (one.kind, one.reason) == ("site", "the site rests: 421 go away")
    assert (one.command, one.mail) == (f"postroom {command}", 4)


def test_a_command_is_safe_to_give_to_a_shell_whatever_strangers_call_their_hosts() -> None:
    row = site(name="mx;reboot $(x)", binds="it rests", rests_until=NOW + 60)
    assert only(overview(None, answer(sites=(row,)))).command == (
        "postroom site purge 'mx;reboot $(x)'"
    )


def test_a_site_that_puts_everything_off_is_worth_a_look() -> None:
    error = LastError(NOW, "451 4.7.1 Greylisted")
    row = site(done=Done(deferred=6), error=error)
    one = only(overview(None, answer(sites=(row,))))
    assert "6 recipients were put off: 451 4.7.1 Greylisted" in one.reason
    assert troubles(overview(None, answer(sites=(site(done=Done(0, 1, 6), error=error),)))) == ()


def test_a_pool_of_which_all_relays_are_down_is_critical() -> None:
    def relays(*states: str) -> tuple[RelayStatus, ...]:
        return tuple(
            RelayStatus("out", f"r{number}:25", 1, 1, "weighted", state, NOW - 90, NOW, "refused")
            for number, state in enumerate(states)
        )

    one = only(overview(server(relays=relays("up", "down"))))
    assert (one.severity, one.name) == ("warning", "r1:25")
    assert one.reason == "the host of route out is down for 1m 30s: refused"
    found = troubles(overview(server(relays=relays("down", "down"))))
    assert [one.severity for one in found] == ["critical", "critical"]
    assert found[0].command == "postroom relay purge r0:25"


def test_sources_tenants_and_held_mail() -> None:
    pauses = (Pause("ip1", reason="warmed too fast"), Pause("ip1", "mx.example"))
    view = server(sources=(SourceStatus("ip1", "paused", pauses=pauses),))
    held = answer(
        stored=Stored(held=9, quarantined=4), tenants=(QueueTenant("shop", limit=0, ready=3),)
    )
    found = {
        (one.kind, one.reason, one.command, one.mail) for one in troubles(overview(view, held))
    }
    assert found == {
        ("source", "source ip1 is paused: warmed too fast", "postroom source resume ip1", 0),
        ("source", "source ip1 is paused towards mx.example",
         "postroom source resume ip1 --site mx.example", 0),
        ("tenant", "tenant shop is held: its concurrency is 0", "postroom why shop", 3),
        ("mail", "mail waits in quarantine for its release: see what harmed, then let it go",
         "postroom mail list state=held", 4),
        ("mail", "mail waits for its release: it is held by an operator, or a policy",
         "postroom mail release state=held", 5),
    }  # fmt: skip


def test_there_are_never_too_many_and_the_worst_come_first() -> None:
    rows = tuple(
        site(name=f"s{number}.example", rests_until=NOW + 9, recipients=number, binds="it rests")
        for number in range(2 * TROUBLES_MAX)
    )
    view = server(queue(state="failed", pid=0))
    found = troubles(overview(view, answer(sites=rows), limit=1000))
    assert len(found) == TROUBLES_MAX
    assert [one.kind for one in found[:2]] == ["queue", "site"]
    assert found[1].mail == 2 * TROUBLES_MAX - 1
