"""Signals: graceful stop, reload of all or nothing, suspend and resume, run all now."""

from __future__ import annotations

import signal
import smtplib
import socket
import subprocess
import threading
import time

import pytest

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread


@pytest.mark.seed(60)
def test_term_lets_what_is_in_flight_end_and_loses_and_repeats_nothing() -> None:
    with (
        SinkThread("content delay=2s") as sink,
        Daemon(relay=sink.port, queues=2) as daemon,
    ):
        for number in range(10):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        daemon.wait_until(lambda: sum(q.in_flight for q in daemon.status().queues) > 0)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 15
        daemon.start()
        sink.wait_for(10)
        daemon.wait_until(lambda: daemon.recipients_left() == 0)
        assert sorted(sink.recipients) == sorted(f"r{n}@example.com" for n in range(10))


def test_a_session_that_is_idle_does_not_delay_a_stop() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        client = smtplib.SMTP("127.0.0.1", daemon.port, timeout=20)
        client.ehlo()
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 10
        client.close()


def test_a_second_term_stops_at_once() -> None:
    with (
        SinkThread("content delay=20s") as sink,
        Daemon(relay=sink.port, queues=1) as daemon,
    ):
        daemon.send("a@example.org", ["b@example.com"])
        daemon.wait_until(lambda: daemon.queue(1).in_flight == 1)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for_event("stopping")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.process is not None
        assert daemon.process.wait(15) == 0
        assert time.monotonic() - began < 12


def test_hup_puts_a_good_configuration_in_force_without_new_processes() -> None:
    with SinkThread() as one, SinkThread() as two, Daemon(relay=one.port) as daemon:
        before = daemon.status()
        daemon.send("a@example.org", ["b@example.com"])
        one.wait_for(1)
        daemon.write_config(relay=two.port)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_event("configuration")
        daemon.send("a@example.org", ["c@example.com"])
        two.wait_for(1)
        after = daemon.status()
        assert after.generation == before.generation + 1
        assert [q.pid for q in after.queues] == [q.pid for q in before.queues]
        assert one.recipients == ["b@example.com"]


@pytest.mark.seed(27, 60)
def test_hup_with_a_broken_file_changes_nothing_and_says_every_mistake() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port) as daemon:
        before = daemon.status()
        daemon.write_config(more='[channel.fast]\nconcurrency = "many"\nspeed = 9\n')
        daemon.signal(signal.SIGHUP)
        refused = daemon.wait_for_event("configuration-refused")
        assert "concurrency" in refused["errors"]
        assert "speed" in refused["errors"]
        # Each with its file and line.
        lines = daemon.file.read_text().splitlines()
        for mistake in ('concurrency = "many"', "speed = 9"):
            assert f"{daemon.file}:{lines.index(mistake) + 1}: " in refused["errors"]
        assert daemon.status().generation == before.generation
        daemon.send("a@example.org", ["b@example.com"])
        sink.wait_for(1)


def test_a_setting_that_needs_a_restart_is_named() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        daemon._queues = 3
        daemon.write_config()
        daemon.signal(signal.SIGHUP)
        assert daemon.wait_for_event("setting-ignored")["setting"] == "spool.count"
        assert daemon.status().pending == ("spool.count",)


@pytest.mark.seed(60)
def test_hup_reopens_the_log_after_a_rotation() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        (daemon.base / "log").rename(daemon.base / "log.1")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_event("configuration")
        daemon.send("a@example.org", ["b@example.com"])
        daemon.wait_for_event("delivered")


@pytest.mark.seed(60)
def test_usr1_suspends_delivery_while_mail_is_taken_and_usr2_resumes_it() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port) as daemon:
        daemon.signal(signal.SIGUSR1)
        daemon.wait_until(lambda: {q.state for q in daemon.status().queues} == {"suspended"})
        for number in range(6):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        assert sink.recipients == []
        assert daemon.recipients_left() == 6
        daemon.signal(signal.SIGUSR2)
        sink.wait_for(6)
        assert daemon.status().delivery == "running"


@pytest.mark.seed(40)
def test_suspended_delivery_stays_so_over_a_restart_until_it_is_resumed() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port) as daemon:
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for_event("delivery-suspended")
        daemon.kill_all()
        daemon.start()
        assert daemon.status().delivery == "suspended"
        for number in range(4):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        daemon.stop()
        daemon.start()
        daemon.wait_until(lambda: {q.state for q in daemon.status().queues} == {"suspended"})
        assert sink.recipients == [] and daemon.recipients_left() == 4
        daemon.signal(signal.SIGUSR2)
        sink.wait_for(4)
        daemon.kill_all()
        daemon.start()
        assert daemon.status().delivery == "running"


@pytest.mark.seed(60)
def test_alrm_tries_deferred_mail_now() -> None:
    with (
        SinkThread("rcpt first=1 reply=451 4.3.0 Not now") as sink,
        Daemon(relay=sink.port, queues=1) as daemon,
    ):
        daemon.send("a@example.org", ["b@example.com"])
        daemon.wait_for_event("deferred")
        daemon.signal(signal.SIGALRM)
        sink.wait_for(1)


@pytest.mark.seed(10)
def test_a_second_server_on_the_same_base_is_refused_clearly() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        again = subprocess.run(
            daemon.command, env=daemon.environment,
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert again.returncode == 75
        assert "already running" in again.stderr
        assert daemon.status().queues[0].state == "running"


def test_mail_that_comes_in_while_the_server_stops_is_taken_whole_or_refused() -> None:
    taken: list[str] = []

    def inject(port: int) -> None:
        for number in range(1000):
            try:
                with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
                    client.sendmail("a@example.org", [f"r{number}@example.com"], "S: x\r\n\r\nx")
                    taken.append(f"r{number}@example.com")
            except (OSError, smtplib.SMTPException):
                return

    with SinkThread() as sink, Daemon(relay=sink.port) as daemon:
        thread = threading.Thread(target=inject, args=(daemon.port,))
        thread.start()
        daemon.wait_until(lambda: len(taken) >= 20)
        assert daemon.stop() == 0
        thread.join(20)
        daemon.start()
        sink.wait_for(lambda messages: set(taken) <= {r for m in messages for r in m.recipients})
        daemon.wait_until(lambda: daemon.recipients_left() == 0)
        assert len(sink.recipients) == len(set(sink.recipients))


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        daemon = Daemon(config=f'[listen.smtp]\naddress = ["127.0.0.1:{port}"]\n')
        with pytest.raises(AssertionError, match=f"127.0.0.1:{port}"), daemon:
            pass
