"""Webhooks: signed, in order for each message, none lost while a receiver fails; mail goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver
from tests.support.sink import SinkThread

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LIFE = ["accepted", "delivered", "done"]
MESSAGES = 150


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    return file


def config(receiver: Receiver, secret: Path, more: str = "") -> str:
    return f"""
[webhook.shop]
url = "{receiver.url}"
secret_file = "{secret}"
batch = 20
retry_max = "1s"
{more}
"""


def send(daemon: Daemon, first: int, count: int) -> float:
    """Send messages, and return how long it took until all were delivered."""
    began = time.monotonic()
    before = len(daemon.events("delivered"))
    daemon.send_each("a@example.org", [f"r{first + one}@example.com" for one in range(count)])
    daemon.wait_for_event("delivered", before + count)
    return time.monotonic() - began


def companion(daemon: Daemon) -> int:
    [one] = [one for one in daemon.status().companions if one.name == "webhooks"]
    return one.pid


def test_a_receiver_that_fails_for_a_while_gets_every_event_and_mail_goes_on(secret: Path) -> None:
    with (
        Receiver(SECRET) as receiver,
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=2, config=config(receiver, secret)) as daemon,
    ):
        daemon.wait_until(lambda: (daemon.base / "spool-events/_webhooks/shop.json").exists())
        up_s = send(daemon, 0, MESSAGES)
        daemon.wait_until(lambda: list(receiver.by_message().values()) == [LIFE] * MESSAGES)
        assert in_json(daemon, "webhook", "list")[0]["state"] == "well"

        # It refuses; its process dies as well. Mail takes no notice.
        receiver.status = 503
        down_s = send(daemon, MESSAGES, MESSAGES)
        daemon.wait_until(lambda: receiver.refused > 2, what="it is tried again")
        daemon.wait_for_event("webhook-failing")
        pid = companion(daemon)
        os.kill(pid, signal.SIGKILL)
        down_s = max(down_s, send(daemon, 2 * MESSAGES, MESSAGES))
        assert down_s < max(5.0, 3 * up_s)
        daemon.wait_until(lambda: companion(daemon) not in (0, pid), what="it is started again")
        refused = receiver.refused
        daemon.wait_until(lambda: receiver.refused > refused)
        code, out = postroom(daemon, "webhook", "list")
        assert code == 1 and "failing" in out and "HTTP status 503" in out
        [shown] = in_json(daemon, "webhook", "list")
        assert shown["behind"] >= 6 * MESSAGES and shown["next_at"] and shown["failures"] >= 1

        receiver.status = 200
        daemon.wait_until(lambda: len(receiver.by_message()) == 3 * MESSAGES)
        daemon.wait_until(lambda: list(receiver.by_message().values()) == [LIFE] * 3 * MESSAGES)
        daemon.wait_for_event("webhook-recovered")
        daemon.wait_until(lambda: in_json(daemon, "webhook", "list")[0]["behind"] < 20)
        assert receiver.forged == 0
        # Nothing that is secret, here or there, was written anywhere.
        written = daemon.errors() + (daemon.base / "log").read_text() + out
        assert SECRET not in written and "hidden" not in written
        assert daemon.stop() == 0


def test_a_webhook_is_tested_replayed_added_and_taken_away_while_the_server_runs(
    secret: Path,
) -> None:
    with (
        Receiver(SECRET) as receiver,
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=1) as daemon,
    ):
        send(daemon, 0, 20)
        code, out = postroom(daemon, "webhook", "test", "shop")
        assert code == 1 and "there is no webhook shop" in out
        daemon.write_config(config(receiver, secret, 'events = ["delivered"]'))
        code, out = postroom(daemon, "webhook", "test", "shop")
        assert (code, out.startswith("shop: taken in")) == (0, True), out
        assert receiver.bodies.pop()["type"] == "test"
        assert postroom(daemon, "reload")[0] == 0
        daemon.wait_until(lambda: companion(daemon) != 0)
        daemon.wait_until(lambda: (daemon.base / "spool-events/_webhooks/shop.json").exists())
        send(daemon, 20, 5)
        daemon.wait_until(lambda: len(receiver.events) == 5)
        assert {event["event"] for event in receiver.events} == {"delivered"}

        # Those before it was there, and all since, come again where that is asked for.
        words = ("webhook", "replay", "shop", "--since", "start")
        code, out = postroom(daemon, *words, "--dry-run")
        assert (code, out) == (0, "shop: 25 events would be sent\n")
        assert postroom(daemon, *words)[0] == 0
        daemon.wait_until(lambda: len(receiver.events) == 30)
        assert len({event["event_id"] for event in receiver.events}) == 25

        daemon.write_config("")
        assert postroom(daemon, "reload")[0] == 0
        daemon.wait_until(lambda: not daemon.status().companions)
        send(daemon, 25, 5)
        assert len(receiver.events) == 30


def test_another_url_is_tried_at_once_however_long_the_old_one_was_to_wait(secret: Path) -> None:
    with Receiver(SECRET) as asleep, Receiver(SECRET) as receiver, SinkThread() as sink:
        asleep.status, asleep.headers = 503, {"retry-after": "3000"}
        with Daemon(relay=sink.port, queues=1, config=config(asleep, secret)) as daemon:
            daemon.wait_until(lambda: companion(daemon) != 0)
            send(daemon, 0, 3)
            daemon.wait_until(lambda: asleep.refused > 0)
            daemon.write_config(config(receiver, secret))
            assert postroom(daemon, "reload")[0] == 0
            daemon.wait_until(lambda: len(receiver.by_message()) == 3)
            assert not asleep.bodies


def test_a_redirect_is_not_followed_and_counts_as_a_failure(secret: Path) -> None:
    with Receiver(SECRET) as elsewhere, Receiver(SECRET) as receiver, SinkThread() as sink:
        receiver.status, receiver.headers = 307, {"location": elsewhere.url}
        with Daemon(relay=sink.port, queues=1, config=config(receiver, secret)) as daemon:
            code, out = postroom(daemon, "webhook", "test", "shop")
            assert (code, "HTTP status 307" in out) == (1, True)
            assert not elsewhere.bodies and receiver.refused


def test_a_url_or_secret_that_is_not_safe_is_refused(secret: Path) -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        for url, why in (
            ("http://receiver.example/events", "in the clear"),
            ("https://me:hunter2@receiver.example/", "password"),
            ("ftp://receiver.example/", "a URL"),
        ):
            text = f'[webhook.shop]\nurl = "{url}"\nsecret_file = "{secret}"\n'
            daemon.write_config(text)
            code, out = postroom(daemon, "check")
            assert (code, why in out) == (78, True), out
            assert "hunter2" not in out
        secret.chmod(0o644)
        daemon.write_config(f'[webhook.shop]\nurl = "https://x.example/"\nsecret_file = "{secret}"')
        code, out = postroom(daemon, "check")
        assert (code, "chmod o=" in out) == (78, True), out
        secret.write_text("hunter2\n")
        secret.chmod(0o600)
        code, out = postroom(daemon, "check")
        assert (code, "postroom webhook secret" in out, "hunter2" in out) == (78, True, False), out
        code, made = postroom(daemon, "webhook", "secret")
        secret.write_text(made)
        code, out = postroom(daemon, "check")
        assert code == 0 and made.strip() not in out
