"""Pools of relays: shares, failover, tiers, probes, and what happens when nothing works."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.ports import free_port
from tests.support.sink import SinkThread

PROBE_S = 2
SESSIONS = 8


def pool(relays: str, more: str = "", probe_s: int = PROBE_S) -> str:
    return (
        '[group.default]\nplacement = "round-robin"\n'
        f'[route.default]\ntype = "relay"\nprobe = "{probe_s}s"\nprobe_max = "{probe_s}s"\n'
        f"relays = [{relays}]\n{more}"
    )


def relay(port: int, more: str) -> str:
    return f'{{ host = "127.0.0.1:{port}", {more} }}'


def send(daemon: Daemon, first: int, count: int) -> None:
    daemon.send_each(
        "a@example.org", [f"r{number}@example.com" for number in range(first, first + count)]
    )


def send_many(daemon: Daemon, count: int) -> None:
    """Send r0, r1 and so on by several sessions at once."""
    with ThreadPoolExecutor(SESSIONS) as sessions:
        size = count // SESSIONS
        list(sessions.map(lambda first: send(daemon, first, size), range(0, count, size)))


@pytest.mark.seed(41)
def test_a_thousand_messages_are_shared_by_weight() -> None:
    with SinkThread() as a, SinkThread() as b:
        config = pool(relay(a.port, "weight = 70") + "," + relay(b.port, "weight = 30"))
        with Daemon(queues=2, config=config) as daemon:
            send_many(daemon, 1000)
            daemon.wait_until(lambda: len(a.messages) + len(b.messages) == 1000, what="delivered")
            assert abs(len(a.messages) - 700) <= 30, (len(a.messages), len(b.messages))


@pytest.mark.seed(39)
@pytest.mark.seed(42)
@pytest.mark.seed(43)
def test_a_relay_that_is_killed_costs_no_mail_is_probed_and_comes_back_to_its_share() -> None:
    port = free_port()
    with ExitStack() as stack:
        b, spare = stack.enter_context(SinkThread()), stack.enter_context(SinkThread())
        a = SinkThread(port=port)
        relays = (
            relay(port, "weight = 70"),
            relay(b.port, "weight = 30"),
            relay(spare.port, "tier = 2"),
        )
        config = pool(",".join(relays), probe_s=1)
        with a:
            daemon = stack.enter_context(Daemon(queues=4, config=config))
            traffic = stack.enter_context(Traffic(daemon))
            daemon.wait_until(lambda: len(a.messages) + len(b.messages) >= 400, what="delivered")
            before, others = len(a.messages), len(b.messages)
            assert abs(before / (before + others) - 0.7) <= 0.05, (before, others)
        # Gone in the middle of mail: the other takes all, and nobody notices but by the probes.
        in_flight = a.counters.open
        with Listener(port) as dead:
            daemon.wait_for_event("host-down")
            time.sleep(6)
        # Those that were under way together before anybody knew, then one for each interval.
        first = dead.times[0]
        probes = [at for at in dead.times if at > first + 0.5]
        assert 3 <= len(probes) <= 7, dead.times
        assert all(later - earlier > 0.9 for earlier, later in pairwise(probes)), probes
        assert [event["host"] for event in daemon.events("host-down")] == [f"127.0.0.1:{port}"]
        with SinkThread(port=port) as again:
            time.sleep(2)
            counted, others = len(again.messages), len(b.messages)
            daemon.wait_until(
                lambda: len(again.messages) + len(b.messages) >= counted + others + 300,
                what="delivered",
            )
            came, went = len(again.messages) - counted, len(b.messages) - others
            assert abs(came / (came + went) - 0.7) <= 0.07, "its share is back in two intervals"
            assert len(daemon.events("host-up")) == 1
            sent = traffic.stop()
            # Whose content was out when the relay died, without a word, waits by its schedule: it
            # may have been taken.
            deferred = daemon.events("deferred")
            assert all("while waiting for the reply to the message" in e["reply"] for e in deferred)
            postroom(daemon, "mail", "run", "all")
            daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")
            taken = Counter([*a.recipients, *again.recipients, *b.recipients])
            assert set(taken) == {f"r{number}@example.com" for number in range(sent)}
            assert sent >= 1000
            twice = [one for one, count in taken.items() if count > 1]
            assert len(twice) <= in_flight, "what was in flight, at most"
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
def test_with_every_relay_down_mail_waits_and_less_and_less_is_done_about_it() -> None:
    ports = free_port(), free_port()
    config = pool(",".join(relay(port, "weight = 1") for port in ports), probe_s=1)
    config = config.replace('probe_max = "1s"', 'probe_max = "1m"')
    with Daemon(queues=4, config=config) as daemon, Listener(ports[0]) as dead:
        send_many(daemon, 1000)
        daemon.wait_until(
            lambda: len(daemon.events("deferred")) >= 1000 == daemon.recipients_left(),
            what="all is kept",
        )
        told, cpu, started = len(daemon.events("deferred")), cpu_of(daemon), time.monotonic()
        time.sleep(5)
        share = (cpu_of(daemon) - cpu) / (time.monotonic() - started)
        assert share < 0.02, share
        # What was under way together before anybody knew is no probe.
        probes = [at for at in dead.times if at > dead.times[0] + 0.5]
        waits = [later - earlier for earlier, later in pairwise(probes)]
        assert waits, dead.times
        assert all(wait > 1.9 * 2**number for number, wait in enumerate(waits)), dead.times
        assert len(daemon.events("deferred")) - told <= 2 * 3, "nothing is written but of probes"
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


class Traffic:
    """Mail that comes all the time, while it is entered: r0, r1 and so on."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._sent = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def stop(self) -> int:
        """Send no more; return how many were sent."""
        self._ends.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self._sent

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._ends.is_set():
            send(self._daemon, self._sent, 20)
            self._sent += 20


class Listener:
    """Something that takes connections and closes them at once: no relay."""

    def __init__(self, port: int) -> None:
        self.times: list[float] = []
        """When a connection came."""
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.times.append(time.monotonic())
            connection.close()


def cpu_of(daemon: Daemon) -> float:
    """Return the seconds of CPU that the server has used."""
    pids = [daemon.status().pid, *(row.pid for row in daemon.status().queues)]
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100
