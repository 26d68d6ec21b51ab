"""Source addresses: mail goes out from the addresses that its channel names, by their weight."""

from __future__ import annotations

from collections import Counter

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
