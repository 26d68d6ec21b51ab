"""Pools of relays: shares, failover, tiers, probes, and what happens when nothing works."""

from __future__ import annotations

import socket
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

PROBE_S = 2


def pool(relays: str, more: str = "") -> str:
    return (
        '[group.default]\nplacement = "round-robin"\n'
        f'[route.default]\ntype = "relay"\nprobe = "{PROBE_S}s"\nrelays = [{relays}]\n' + more
    )


def relay(port: int, more: str) -> str:
    return f'{{ host = "127.0.0.1:{port}", {more} }}'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def send(daemon: Daemon, first: int, count: int) -> None:
    daemon.send_each(
        "a@example.org", [f"r{number}@example.com" for number in range(first, first + count)]
    )


@pytest.mark.seed(41)
def test_a_thousand_messages_are_shared_by_weight() -> None:
    with SinkThread() as a, SinkThread() as b:
        config = pool(relay(a.port, "weight = 70") + "," + relay(b.port, "weight = 30"))
        with Daemon(queues=2, config=config) as daemon:
            send(daemon, 0, 1000)
            daemon.wait_until(lambda: len(a.messages) + len(b.messages) == 1000, what="delivered")
            assert abs(len(a.messages) - 700) <= 30, (len(a.messages), len(b.messages))


@pytest.mark.seed(42)
@pytest.mark.seed(43)
def test_a_relay_that_is_killed_costs_no_mail_is_probed_and_comes_back_to_its_share() -> None:
    port = free_port()
    with ExitStack() as stack:
        b, spare = stack.enter_context(SinkThread()), stack.enter_context(SinkThread())
        a = SinkThread(port=port)
        config = pool(
            ",".join(
                (
                    relay(port, "weight = 70"),
                    relay(b.port, "weight = 30"),
                    relay(spare.port, "tier = 2"),
                )
            )
        )
        with a:
            daemon = stack.enter_context(Daemon(queues=4, config=config))
            send(daemon, 0, 300)
            daemon.wait_until(lambda: len(a.messages) + len(b.messages) >= 300, what="delivered")
            before = len(a.messages)
            assert before > 150
        # Gone: the other takes all, and it is probed once for each interval by all four queues.
        with Listener(port) as dead:
            until = time.monotonic() + 3 * PROBE_S
            sent = 300
            while time.monotonic() < until:
                send(daemon, sent, 40)
                sent += 40
                time.sleep(0.05)
            # The first attempts may be under way together before anybody knows.
            assert dead.connections <= 4 + 3 + 4, dead.connections
        daemon.wait_until(lambda: before + len(b.messages) >= sent, what="b has taken all")
        assert [event["host"] for event in daemon.events("host-down")] == [f"127.0.0.1:{port}"]
        with SinkThread(port=port) as again:
            daemon.wait_until(
                lambda: send(daemon, sent, 1) is None and bool(daemon.events("host-up")),
                3 * PROBE_S, "it is found to work",
            )  # fmt: skip
            extra = len(again.messages) + len(b.messages)
            counted = len(again.messages)
            send(daemon, sent + 1, 300)
            daemon.wait_until(
                lambda: (
                    len(again.messages) + len(b.messages) >= extra + 300
                    and daemon.recipients_left() == 0
                ),
                what="delivered",
            )
            assert len(again.messages) - counted > 150, "its share is back"
            taken = Counter([*a.recipients, *again.recipients, *b.recipients])
            assert set(taken) == {f"r{number}@example.com" for number in range(sent + 301)}
            # While it was waited for, one address got several messages.
            assert taken.most_common(2)[1][1] == 1, "nothing came twice"
        assert not spare.counters.connections, "the fallback was never needed"


@pytest.mark.seed(43)
def test_a_fallback_is_used_only_while_every_first_relay_is_down() -> None:
    port = free_port()
    with SinkThread() as spare:
        config = pool(relay(port, "weight = 1") + "," + relay(spare.port, "tier = 2"))
        with Daemon(queues=2, config=config) as daemon:
            with SinkThread(port=port) as main:
                send(daemon, 0, 20)
                main.wait_for(20)
                assert not spare.counters.connections
            send(daemon, 20, 20)
            spare.wait_for(20)
            with SinkThread(port=port) as main:
                number = 40
                until = time.monotonic() + 4 * PROBE_S
                while not daemon.events("host-up"):
                    assert time.monotonic() < until
                    send(daemon, number, 1)
                    number += 1
                    time.sleep(0.1)
                time.sleep(0.3)
                before, took = len(spare.messages), len(main.messages)
                send(daemon, 1000, 20)
                main.wait_for(took + 20)
                assert len(spare.messages) == before, "and not any more"


@pytest.mark.seed(44)
@pytest.mark.seed(39)
def test_with_every_relay_down_mail_waits_and_little_is_done_about_it() -> None:
    ports = free_port(), free_port()
    config = pool(
        ",".join(relay(port, "weight = 1") for port in ports),
        "[delivery]\nsite_rest = '2s'\n",
    )
    with Daemon(queues=2, config=config) as daemon, Listener(ports[0]) as dead:
        send(daemon, 0, 1000)
        daemon.wait_until(lambda: daemon.recipients_left() == 1000, what="all is kept")
        time.sleep(2)
        seen, cpu, started = dead.connections, cpu_of(daemon), time.monotonic()
        time.sleep(4 * PROBE_S)
        passed = time.monotonic() - started
        assert cpu_of(daemon) - cpu < 0.03 * passed
        assert dead.connections - seen <= 4 + 1, "one probe for each interval, not one a message"
        assert daemon.recipients_left() == 1000


def test_mail_goes_soon_after_its_relay_is_back_although_no_new_mail_comes() -> None:
    port = free_port()
    rarely = "[channel.default]\nretry = 'list 1h for 5d'\n"
    with Daemon(queues=2, config=pool(relay(port, "weight = 1"), rarely)) as daemon:
        send(daemon, 0, 200)
        daemon.wait_for_event("host-down")
        daemon.wait_until(lambda: len(daemon.events("deferred")) >= 200, what="all is deferred")
        time.sleep(PROBE_S)
        with SinkThread(port=port) as main:
            main.wait_for(200, 2 * PROBE_S + 1)
            assert daemon.wait_for_event("host-up")
            assert len(set(main.recipients)) == len(main.recipients) == 200
            daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")


def test_relays_are_listed_with_their_state_and_one_that_is_down_is_tried_at_once_if_told() -> None:
    port = free_port()
    with SinkThread() as spare:
        relays = relay(port, "weight = 7") + "," + relay(spare.port, "tier = 2")
        config = pool(relays).replace(f'probe = "{PROBE_S}s"', 'probe = "1h"')
        with Daemon(queues=2, config=config) as daemon:
            assert [one["state"] for one in in_json(daemon, "relay", "list")] == ["up", "up"]
            send(daemon, 0, 4)
            spare.wait_for(4)
            daemon.wait_for_event("host-down")
            code, text = postroom(daemon, "relay", "list")
            assert code == 1 and "DOWN" in text and "refused" in text
            [first, second] = in_json(daemon, "relay", "list")
            assert (first["host"], first["weight"], first["state"]) == (
                f"127.0.0.1:{port}", 7, "down",
            )  # fmt: skip
            assert (second["tier"], second["state"]) == (2, "up")
            code, text = postroom(daemon, "relay", "purge", "nobody.example")
            assert code != 0 and "postroom relay list" in text
            with SinkThread(port=port) as main:
                send(daemon, 4, 2)
                spare.wait_for(6)
                assert not main.messages, "not for an hour"
                assert postroom(daemon, "relay", "purge", "all")[0] == 0
                time.sleep(0.2)
                send(daemon, 6, 4)
                main.wait_for(4)


def test_a_relay_whose_name_cannot_be_found_leaves_its_mail_to_the_fallback() -> None:
    with SinkThread() as spare:
        relays = '{ host = "nosuch.invalid:25" },' + relay(spare.port, "tier = 2")
        config = pool(relays, "[resolver]\nservers = ['127.0.0.1:9']\ntimeout = '1s'\n")
        with Daemon(queues=1, config=config) as daemon:
            send(daemon, 0, 1)
            spare.wait_for(1)


class Listener:
    """Something that takes connections and closes them at once: no relay."""

    def __init__(self, port: int) -> None:
        self._sink = SinkThread("connect drop", port=port)

    @property
    def connections(self) -> int:
        return self._sink.counters.connections

    def __enter__(self) -> Listener:
        self._sink.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._sink.__exit__(None, None, None)


def cpu_of(daemon: Daemon) -> float:
    """Return the seconds of CPU that the server has used."""
    pids = [daemon.status().pid, *(row.pid for row in daemon.status().queues)]
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100
