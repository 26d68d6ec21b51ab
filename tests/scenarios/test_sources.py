"""Source addresses: mail goes out from the addresses that its channel names, by their weight."""

from __future__ import annotations

import datetime
from collections import Counter

import pytest

from tests.scenarios.test_limits import ROUND_ROBIN, SLOW, busiest, inject
from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
ABSENT = "192.0.2.77"


def source(name: str, address: str, more: str = "") -> str:
    return f'[source.{name}]\naddress = "{address}"\n{more}\n'


def pool(*names: str, more: str = "") -> str:
    return f"[channel.default]\nsources = {list(names)}\n{more}\n"


def send(daemon: Daemon, first: int, count: int, domain: str = "example.com") -> None:
    recipients = [f"r{number}@{domain}" for number in range(first, first + count)]
    daemon.send_each("a@example.org", recipients)


def clients(sink: SinkThread) -> Counter[str]:
    """Return how many messages came from each address."""
    return Counter(message.client for message in sink.messages)


def test_mail_goes_out_by_weight_and_each_source_says_its_own_name() -> None:
    config = (
        source("a", A, "weight = 3\nhelo = 'a.example.org'")
        + source("b", B)
        + source("c", C)
        + pool("a", "b")
        + "[channel.other]\nmatch = ['other.example']\nsources = ['c']\n"
    )
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=config) as daemon:
        send(daemon, 0, 200)
        send(daemon, 200, 20, "other.example")
        messages = sink.wait_for(220)
        by = clients(sink)
        assert by[C] == 20 and abs(by[A] - 150) <= 4 and by[A] + by[B] == 200, by
        assert {(one.client, one.helo) for one in messages} == {
            (A, "a.example.org"), (B, "test.example"), (C, "test.example"),
        }  # fmt: skip
        # A kept connection serves only mail that goes from its source.
        for one in messages:
            assert (one.client == C) == one.recipients[0].endswith("@other.example")
        assert sink.counters.connections < 60


def test_an_address_that_is_not_there_is_found_at_the_start_and_at_a_reload() -> None:
    good = source("a", A) + pool("a")
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=good) as daemon:
        daemon.write_config(source("a", ABSENT) + pool("a"))
        code, text = postroom(daemon, "reload")
        assert code != 0 and f"{ABSENT}: this machine has no such address" in text
        assert f"postroom.toml:{line_of(daemon, ABSENT)}" in text
        code, text = postroom(daemon, "check")
        assert code == 78 and "ip address add" in text
        send(daemon, 0, 3)
        sink.wait_for(3)
        assert clients(sink) == {A: 3}, "nothing was changed"
        daemon.write_config(source("b", B) + pool("b"))
        assert postroom(daemon, "reload")[0] == 0
        send(daemon, 3, 3)
        sink.wait_for(6)
        assert clients(sink) == {A: 3, B: 3}
        assert in_json(daemon, "check")


def line_of(daemon: Daemon, text: str) -> int:
    lines = daemon.file.read_text("utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.mark.seed(22)
@pytest.mark.seed(26)
def test_a_source_has_no_more_connections_than_its_limit_over_queues_and_channels() -> None:
    config = (
        ROUND_ROBIN
        + source("a", A, "concurrency = 3")
        + source("b", B)
        + "[channel.x]\nmatch = ['x.example']\nsources = ['a']\nroute = 'x'\n"
        + "[channel.y]\nmatch = ['y.example']\nsources = ['a']\nroute = 'x'\n"
        + pool("b")
    )
    with SinkThread(SLOW) as narrow, SinkThread(SLOW) as wide:
        config += f"[route.x]\ntype = 'relay'\nhost = '127.0.0.1:{narrow.port}'\n"
        with Daemon(relay=wide.port, queues=4, config=config) as daemon:
            inject(daemon, 60, "x.example")
            inject(daemon, 60, "y.example")
            inject(daemon, 60, "z.example")
            # Whoever uses another source does not wait for this one.
            wide.wait_for(60)
            assert len(narrow.messages) < 120
            narrow.wait_for(120)
            assert clients(narrow) == {A: 120} and clients(wide) == {B: 60}
            assert narrow.counters.open_max == 3 and wide.counters.open_max > 3
            assert {event["queue"] for event in daemon.events("delivered")} == {
                f"queue{number}" for number in (1, 2, 3, 4)
            }


@pytest.mark.seed(29)
def test_new_connections_and_messages_of_a_source_keep_to_its_rates_over_a_crash() -> None:
    config = (
        ROUND_ROBIN
        + source("a", A, "connect_rate = '8/2s burst 2'")
        + source("b", B, "rate = '8/2s burst 2'")
        + pool("a", more="transactions_max = 1")
        + "[channel.rated]\nmatch = ['rated.example']\nsources = ['b']\n"
    )
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=config) as daemon:
        inject(daemon, 15)
        inject(daemon, 15, "rated.example")
        sink.wait_for(12)
        [lane] = [one for why in in_json(daemon, "why", "rated.example") for one in why["lanes"]][
            :1
        ]
        assert "source b: 8/2s burst 2" in lane["binds"], lane
        code, text = postroom(daemon, "why", "default")
        assert code == 0 and "source a, new connections: rate 8/2s burst 2" in text, text
        daemon.kill_all()
        daemon.start()
        daemon.wait_until(lambda: daemon.recipients_left() == 0, 30, "all is delivered")
        for client in (A, B):
            times = [message.at for message in sink.messages if message.client == client]
            assert len(times) >= 15 and busiest(times, 1.9) <= 8
        assert sink.counters.connections >= 15


def test_a_limit_of_new_connections_does_not_slow_mail_over_kept_ones() -> None:
    config = "[channel.default]\nper_site.connect_rate = '3/1h burst 3'\n"
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=config) as daemon:
        send(daemon, 0, 300)
        sink.wait_for(200, 10)
        assert sink.counters.connections <= 3


def test_a_new_source_sends_what_its_plan_allows_today_over_queues_and_restarts() -> None:
    yesterday = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)).date()
    config = (
        ROUND_ROBIN
        + source("a", A, "weight = 100\nwarmup = 'new'")
        + source("b", B)
        + pool("a", "b")
        + f"[warmup.new]\ndays = [5, 5, 50]\nstart = {yesterday}\n"
    )
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=config) as daemon:
        inject(daemon, 40)
        sink.wait_for(40)
        assert clients(sink) == {A: 5, B: 35}
        assert daemon.stop() == 0
        code, text = postroom(daemon, "source", "list")
        said = "a: warm-up new, day 2 of 3: 5 messages to each site; today 5 to relay:default"
        assert code == 0 and said in text, text
        daemon.start()
        inject(daemon, 20)
        sink.wait_for(60)
        assert clients(sink) == {A: 5, B: 55}
        [cold, warm] = in_json(daemon, "source", "list")
        assert cold["warmup"]["used"] == {"relay:default": 5} and warm["warmup"] is None
        assert cold["warmup"]["per_day"] == 5
