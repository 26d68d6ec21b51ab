"""A queue is enabled, held, draining or offline, as an operator says, over every restart."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

SESSIONS = 12
NOBODY_WAITS = '[channel.default]\nretry = "list 1h for 2d"\n'


def stop(daemon: Daemon) -> None:
    assert daemon.stop() == 0


def queues(daemon: Daemon) -> dict[int, dict[str, Any]]:
    """Return what `postroom queue list` says of each queue."""
    _, text = postroom(daemon, "queue", "list", "--json")
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {row["queue"]: row for row in rows}


def states(daemon: Daemon) -> list[str]:
    return [row["queue_state"] for row in queues(daemon).values()]


def send(daemon: Daemon, count: int) -> None:
    for number in range(count):
        daemon.send("a@example.org", [f"r{number}@example.com"])


@pytest.mark.seed(40)
@pytest.mark.parametrize("end", [stop, Daemon.kill_all], ids=["stopped", "killed"])
def test_each_state_is_kept_over_a_restart(end: Callable[[Daemon], None]) -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=4) as daemon:
        for verb, number in (("hold", 1), ("drain", 2), ("offline", 3)):
            code, text = postroom(daemon, "queue", verb, f"queue{number}")
            assert code == 0 and text.startswith(f"queue{number} is "), text
        daemon.wait_until(lambda: queues(daemon)[3]["worker"]["pid"] == 0, what="it is closed")
        assert states(daemon) == ["held", "draining", "offline", "enabled"]
        end(daemon)
        daemon.start(queues_down=1)
        assert states(daemon) == ["held", "draining", "offline", "enabled"]
        assert queues(daemon)[3]["worker"]["pid"] == 0
        assert postroom(daemon, "queue", "enable", "1", "2", "3")[0] == 0
        daemon.wait_until(
            lambda: all(row["worker"]["state"] == "running" for row in queues(daemon).values()),
            what="all four run",
        )
        assert states(daemon) == ["enabled"] * 4


def test_a_draining_queue_takes_nothing_new_and_what_waits_in_it_moves() -> None:
    with (
        SinkThread("rcpt=late@* first=1 reply=451 4.2.0 Not now") as sink,
        Daemon(relay=sink.port, queues=2, config=NOBODY_WAITS) as daemon,
    ):
        # Mail that waits in queue1, and nothing in queue2.
        assert postroom(daemon, "queue", "drain", "2")[0] == 0
        daemon.send("a@example.org", ["late@example.com"])
        daemon.wait_for_event("deferred")
        assert postroom(daemon, "queue", "enable", "2")[0] == 0
        assert postroom(daemon, "queue", "drain", "1")[0] == 0
        send(daemon, SESSIONS)
        sink.wait_for(SESSIONS)
        daemon.wait_for_event("accepted", SESSIONS + 1)
        homes = {event["queue"] for event in daemon.events("accepted")[1:]}
        assert homes == {"queue2"}, "every later session went to the other queue"
        daemon.wait_for_event("arrived")
        assert daemon.counts(1)["messages"] == 0
        assert postroom(daemon, "mail", "run", "all")[0] == 0
        sink.wait_for(SESSIONS + 1)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="all is delivered")


def test_an_open_session_moves_on_when_its_queue_drains() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) as client:
            client.sendmail("a@example.org", ["b@example.com"], "Subject: t\r\n\r\nx\r\n")
            assert postroom(daemon, "queue", "drain", "1")[0] == 0
            with pytest.raises((smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException)):
                client.sendmail("a@example.org", ["c@example.com"], "Subject: t\r\n\r\nx\r\n")
        sink.wait_for(1)
        assert sink.recipients == ["b@example.com"]


@pytest.mark.seed(15)
def test_where_no_queue_takes_mail_it_is_refused_for_now_and_nothing_is_written() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        assert postroom(daemon, "queue", "drain", "1", "2")[0] == 0
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            daemon.send("a@example.org", ["b@example.com"])
        assert refused.value.smtp_code == 421
        message = daemon.base / "message"
        message.write_bytes(b"Subject: t\r\n\r\nx\r\n")
        words = ("inject", "-f", "a@example.org", "-r", "b@example.com", str(message))
        assert postroom(daemon, *words)[0] == 75
        assert [daemon.counts(number)["messages"] for number in (1, 2)] == [0, 0]
        assert daemon.events("accepted") == [] and sink.messages == []


def test_a_held_queue_takes_mail_and_tries_none_until_it_is_enabled() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        assert postroom(daemon, "queue", "hold", "1")[0] == 0
        assert postroom(daemon, "queue", "drain", "2")[0] == 0
        send(daemon, 3)
        assert daemon.counts(1)["messages"] == 3
        # Neither restart nor the wish of the whole server starts a held queue.
        stop(daemon)
        daemon.start()
        assert postroom(daemon, "delivery", "resume")[0] == 0
        daemon.send("a@example.org", ["other@example.com"])
        assert daemon.counts(1)["messages"] == 4 and sink.messages == []
        assert postroom(daemon, "queue", "enable", "1")[0] == 0
        sink.wait_for(4)


def test_an_offline_queue_is_closed_and_served_again_with_its_mail() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        assert postroom(daemon, "queue", "hold", "1")[0] == 0
        assert postroom(daemon, "queue", "drain", "2")[0] == 0
        send(daemon, 2)
        assert postroom(daemon, "queue", "enable", "2")[0] == 0
        assert postroom(daemon, "queue", "offline", "1")[0] == 0
        daemon.wait_until(lambda: queues(daemon)[1]["worker"]["pid"] == 0, what="it is closed")
        daemon.send("a@example.org", ["meanwhile@example.com"])
        sink.wait_for(1)
        # Its directory can be taken away and brought back.
        directory = daemon.base / "spool" / "queue1"
        directory.rename(directory.with_name("elsewhere"))
        directory.with_name("elsewhere").rename(directory)
        assert postroom(daemon, "queue", "enable", "1")[0] == 0
        sink.wait_for(3)
        assert sorted(sink.recipients)[1:] == ["r0@example.com", "r1@example.com"]
        assert daemon.process is not None and daemon.process.poll() is None


def test_states_can_be_set_while_the_server_is_down() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        stop(daemon)
        assert postroom(daemon, "queue", "hold", "queue2")[0] == 0
        assert postroom(daemon, "queue", "offline", "queue9")[0] == 1
        assert postroom(daemon, "queue", "hold", "nonsense")[0] == 2
        assert states(daemon) == ["enabled", "held"]
        daemon.start()
        assert states(daemon) == ["enabled", "held"]
        assert [event["state"] for event in daemon.events("queue-state")] == []
