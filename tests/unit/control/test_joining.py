"""The answers of all queues add up to one overview."""

from __future__ import annotations

import msgspec

from postroom.control.answers import ChannelStatus, RelayStatus
from postroom.control.orders import SITE_ORDERS
from postroom.control.overview import Overview
from postroom.engine.survey import ORDERS
from postroom.engine.views import (
    Done,
    HostState,
    LastError,
    QueueHost,
    QueueSource,
    QueueTenant,
    Stored,
)
from postroom.queueing.load import ChannelLoad
from postroom.queueing.why import LimitUse
from tests.unit.control.overviews import NOW, answer, channel, overview, queue, server, site


def test_channels_of_two_queues_add_up_and_the_oldest_mail_counts() -> None:
    two = server(queue(1), queue(2))
    one = channel(
        in_flight=3, ready=4, limit=10, sites=2, oldest_due=NOW - 30, done=Done(9, 5, 2, 1),
        stored=Stored(7, 1, 2, 4, 3), uses=(LimitUse("channel default", 100, 6, 3, 1),),
        binds="because", binds_site="a.example",
    )  # fmt: skip
    other = channel(
        in_flight=1, ready=9, limit=10, sites=1, oldest_due=NOW - 5, done=Done(1, 1, 1, 1),
        stored=Stored(1, 1, 1, 1, 1), uses=(LimitUse("channel default", 100, 2, 1, 0),),
        binds="another", binds_site="b.example",
    )  # fmt: skip
    found = overview(two, answer(1, channels=(one,)), answer(2, channels=(other,)))
    [row] = found.channels
    assert (row.in_flight, row.ready, row.limit, row.oldest_s) == (4, 13, 100, 30.0)
    assert row.done == Done(10, 6, 3, 2) and row.stored == Stored(8, 2, 3, 5, 4)
    assert row.uses == (LimitUse("channel default", 100, 8, 4, 1),)
    assert (row.binds, row.binds_site, row.queues) == ("another", "b.example", (1, 2))


def test_a_limit_that_was_set_is_the_one_in_force() -> None:
    status = ChannelStatus(
        "default", "running", concurrency=100, site_concurrency=20, concurrency_override=7
    )
    [row] = overview(server(channels=(status,))).channels
    assert (row.limit, row.site_limit) == (7, 20)


def test_a_channel_that_is_gone_and_has_mail_is_shown() -> None:
    found = overview(None, answer(channels=(channel("old", stored=Stored(waiting=3)),)))
    assert [(row.name, row.state) for row in found.channels] == [
        ("default", "running"), ("old", "gone"),
    ]  # fmt: skip


def test_a_site_of_two_queues_is_one_row_and_says_why_where_most_of_its_mail_is() -> None:
    limits = (LimitUse("site mx.example", 20, 5, 2, 0),)
    quiet = site(in_flight=2, window=5, limits=limits, recipients=2, done=Done(delivered=4))
    resting = site(
        waiting=1, window=1, limits=limits, binds="the site rests: it could not be used",
        rests_until=NOW + 60, rest_reply="451 refused", recipients=9, oldest_due=NOW - 8,
        error=LastError(NOW - 1, "451 refused"),
        hosts=(HostState("mx.example:25", "open", NOW - 3, NOW + 3, "refused"),),
    )  # fmt: skip
    found = overview(
        server(queue(1), queue(2)), answer(1, sites=(quiet,)), answer(2, sites=(resting,))
    )
    [row] = found.sites
    assert (row.state, row.reply, row.next_at) == ("resting", "451 refused", NOW + 60)
    assert (row.in_flight, row.recipients, row.window, row.granted) == (2, 11, 6, 10)
    assert (row.limit, row.oldest_s, row.done.delivered) == (20, 8.0, 4)
    assert [host.state for host in row.hosts] == ["open"] and row.queues == (1, 2)


def test_sites_come_in_the_order_asked_for_and_no_more_than_asked_for() -> None:
    rows = (
        site(name="busy.example", in_flight=9, recipients=9),
        site(name="full.example", recipients=500, oldest_due=NOW - 1),
        site(name="old.example", recipients=1, oldest_due=NOW - 900, done=Done(delivered=3)),
        site(name="down.example", recipients=2, rests_until=NOW + 9, binds="it rests"),
    )

    def first(order: str) -> str:
        found = overview(None, answer(sites=rows, sites_total=70), order=order, limit=2)
        assert len(found.sites) == 2 and found.sites_total == 70
        return found.sites[0].site

    assert {order: first(order) for order in SITE_ORDERS} == {
        "trouble": "down.example", "backlog": "full.example", "flight": "busy.example",
        "oldest": "old.example", "done": "old.example",
    }  # fmt: skip


def test_a_worker_knows_every_order_there_is() -> None:
    assert set(ORDERS) == set(SITE_ORDERS)


def test_relays_have_the_share_they_should_and_the_share_they_got() -> None:
    relays = (
        RelayStatus("out", "a.example:25", 70, 1, "weighted", "up"),
        RelayStatus("out", "b.example:25", 30, 1, "weighted", "down", NOW - 9, NOW, "refused"),
        RelayStatus("out", "spare.example:25", 1, 2, "weighted", "up"),
        RelayStatus("", "mx.example:25", 0, 0, "", "down", NOW - 9, NOW, "timeout"),
    )
    took = (QueueHost("a.example:25", 60, 1, 0, 4), QueueHost("b.example:25", 20, 0, 5, 0))
    found = overview(server(relays=relays), answer(1, hosts=took), answer(2, hosts=took))
    rows = {row.host: row for row in found.hosts}
    a, b = rows["a.example:25"], rows["b.example:25"]
    assert (a.share, a.real, a.state, a.connections) == (0.7, 0.75, "closed", 8)
    assert (b.share, b.real, b.state, b.error) == (0.3, 0.25, "open", "refused")
    spare, mx = rows["spare.example:25"], rows["mx.example:25"]
    assert (spare.share, spare.real) == (1.0, None) and (mx.share, mx.state) == (None, "open")


def test_the_load_is_that_of_the_worker_and_without_it_that_of_the_board() -> None:
    two = server(queue(1, load_ppm=250_000, oldest_s=3), queue(2, load_ppm=500_000, oldest_s=7))
    found = overview(two, answer(1, load=ChannelLoad("default", 3, 3, 4)), silent=(2,))
    first, second = found.queues
    assert (first.load, first.busiest, first.is_asked) == (1.5, "default", True)
    assert (second.load, second.busiest, second.is_asked, second.oldest_s) == (0.5, None, False, 7)
    assert found.silent == (2,)


def test_tenants_and_sources_add_up() -> None:
    one = answer(1, tenants=(QueueTenant("a", 2, 1, 5, 10, 5), QueueTenant("b")), tenants_total=2)
    other = answer(2, tenants=(QueueTenant("b", 1, 3, 9),), sources=(QueueSource("x", 2, 4),))
    found = overview(server(queue(1), queue(2)), one, other)
    assert [(row.name, row.in_flight, row.ready) for row in found.tenants] == [
        ("b", 3, 9), ("a", 1, 5),
    ]  # fmt: skip
    assert found.tenants_total == 2


def test_an_overview_survives_the_way_over_a_socket() -> None:
    found = overview(None, answer(sites=(site(error=LastError(NOW, "451")),)))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Overview) == found
