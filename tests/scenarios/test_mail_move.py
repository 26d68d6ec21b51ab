"""Mail moves from queue to queue while the server runs, and nothing is lost or doubled."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

MANY = 600
KILLS = 4


def fill(daemon: Daemon, count: int) -> list[str]:
    """Give queue1 mail that waits; return its recipients."""
    assert postroom(daemon, "delivery", "suspend")[0] == 0
    assert postroom(daemon, "queue", "drain", "2")[0] == 0
    recipients = [f"r{number}@example.com" for number in range(count)]
    daemon.send_each("a@example.org", recipients)
    assert daemon.counts(1)["messages"] == count
    assert postroom(daemon, "queue", "enable", "2")[0] == 0
    return recipients


def deliver(daemon: Daemon, sink: SinkThread, recipients: list[str]) -> None:
    """Let everything go, and see that it comes once."""
    assert postroom(daemon, "delivery", "resume")[0] == 0
    sink.wait_for(len(recipients))
    daemon.wait_until(lambda: daemon.recipients_left() == 0, what="all is delivered")
    assert sorted(sink.recipients) == sorted(recipients)


@pytest.mark.seed(59)
def test_what_a_filter_names_moves_with_its_ids_and_holds_and_is_delivered_once() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        recipients = fill(daemon, 30)
        before = {message["id"]: message for message in listed(daemon)}
        held = [message["id"] for message in before.values()][:3]
        assert postroom(daemon, "mail", "hold", *held, "--reason", "look")[0] == 0
        code, text = postroom(daemon, "mail", "move", "recipient=r7@example.com", "--queue", "2")
        assert (code, text) == (0, "1 message moved to queue2\n")
        code, text = postroom(daemon, "mail", "move", "all", "--queue", "queue2", "--dry-run")
        assert code == 0 and text.startswith("29 messages would be moved to queue2\n")
        [answer] = in_json(daemon, "mail", "move", "all", "--queue", "2")
        assert answer == {
            "verb": "move", "queue": 2, "count": 29, "dry_run": False, "absent": [],
        }  # fmt: skip
        assert [daemon.counts(number)["messages"] for number in (1, 2)] == [0, 30]
        daemon.wait_until(lambda: len(daemon.events("arrived")) == 30, what="all have arrived")
        after = {message["id"]: message for message in listed(daemon)}
        assert {message["queue"] for message in after.values()} == {2}
        for queue_id, message in after.items():
            was = before[queue_id]
            assert (message["arrived_at"], message["size_octets"]) == (
                was["arrived_at"], was["size_octets"],
            )  # fmt: skip
            assert message["hold"] == ("look" if queue_id in held else "")
        assert postroom(daemon, "mail", "move", "all", "--queue", "2")[0] == 1, "nothing is left"
        assert postroom(daemon, "mail", "release", "all")[0] == 0
        deliver(daemon, sink, recipients)


@pytest.mark.seed(59)
def test_killed_in_the_middle_of_a_move_each_message_is_in_one_queue() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        recipients = fill(daemon, MANY)
        ids = {message["id"] for message in listed(daemon, "--limit", "0")}
        for kill in range(KILLS):
            mover = threading.Thread(
                target=postroom, args=(daemon, "mail", "move", "all", "--queue", "2")
            )
            mover.start()
            moved = kill * MANY // KILLS + 1
            # Not by the log: a kill takes its last lines.
            daemon.wait_until(
                lambda at_least=moved: daemon.counts(2)["messages"] >= at_least,
                what=f"{moved} are moved",
            )
            daemon.kill_all()
            mover.join()
            daemon.start()
        daemon.wait_until(lambda: not in_transit(daemon), what="nothing is on its way")
        found = [message["id"] for message in listed(daemon, "--limit", "0")]
        assert len(found) == MANY and set(found) == ids, "each is in exactly one queue"
        assert daemon.counts(2)["messages"] > MANY // 2
        deliver(daemon, sink, recipients)


def in_transit(daemon: Daemon) -> list[str]:
    held = listed(daemon, "state=held", "--limit", "0")
    return [message["hold"] for message in held]


def test_a_queue_with_much_mail_drains_within_seconds_and_can_be_retired() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        recipients = fill(daemon, MANY)
        code, text = postroom(daemon, "queue", "add")
        assert code == 0 and text.startswith("queue3 "), text
        assert postroom(daemon, "queue", "offline", "2")[0] == 0
        daemon.wait_until(
            lambda: daemon.queue(2).pid == 0 and daemon.queue(3).state == "suspended",
            what="queue2 is closed and queue3 is open",
        )
        code, text = postroom(daemon, "mail", "move", "all", "--queue", "3")
        assert code == 0, text
        held = [message["id"] for message in listed(daemon, "--limit", "5")]
        assert postroom(daemon, "mail", "hold", *held)[0] == 0
        began = time.monotonic()
        assert postroom(daemon, "queue", "drain", "3")[0] == 0
        daemon.wait_until(lambda: daemon.queue(3).messages == 0, 60, "queue3 is empty")
        print(f"{MANY} messages drained in {time.monotonic() - began:.1f} s")
        assert postroom(daemon, "queue", "retire", "3")[0] == 0
        daemon.wait_until(lambda: len(in_transit(daemon)) == 5, what="what was held is held")
        assert postroom(daemon, "queue", "enable", "2")[0] == 0
        daemon.wait_until(lambda: daemon.queue(2).state == "suspended", what="queue2 is open")
        assert postroom(daemon, "mail", "release", "all")[0] == 0
        deliver(daemon, sink, recipients)


def test_a_move_that_cannot_be_is_refused_clearly_and_changes_nothing() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        recipients = fill(daemon, 3)
        code, text = postroom(daemon, "mail", "move", "all", "--queue", "9")
        assert code == 1 and "there is no queue9" in text
        assert postroom(daemon, "mail", "move", "all", "--queue", "second")[0] == 2
        assert postroom(daemon, "mail", "move", "--queue", "2")[0] == 2, "which messages?"
        assert postroom(daemon, "queue", "drain", "2")[0] == 0
        code, text = postroom(daemon, "mail", "move", "all", "--queue", "2")
        assert code == 75 and "queue2 says 421 4.3.2" in text
        assert postroom(daemon, "queue", "offline", "2")[0] == 0
        daemon.wait_until(lambda: daemon.queue(2).pid == 0, what="queue2 is closed")
        code, text = postroom(daemon, "mail", "move", "all", "--queue", "2")
        assert code == 75 and "queue2" in text
        assert in_transit(daemon) == [] and daemon.counts(1)["messages"] == 3
        assert postroom(daemon, "queue", "enable", "2")[0] == 0
        assert daemon.stop() == 0
        code, text = postroom(daemon, "mail", "move", "all", "--queue", "2")
        assert code == 75 and "only its server moves its mail" in text
        daemon.start()
        deliver(daemon, sink, recipients)
