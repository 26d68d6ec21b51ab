"""A queue whose worker is killed for good: its part of new mail goes to others, its own waits.

What it had is delivered once a worker of it starts again, and is shown until then.
"""

from __future__ import annotations

import os
import signal
import smtplib

import pytest

from tests.scenarios.test_failing_worker import BAD, KILLER
from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

SENDERS = 40
HASHED = """
[group.all]
queues = [1, 2, 3]
match = [".example.com"]
placement = "hash"
weights = [1, 2, 5]
[delivery]
rescan = "1s"
"""


class KillableDaemon(Daemon):
    """A server of which one queue's worker ends at once from the moment that `killer` is there."""

    @property
    def environment(self) -> dict[str, str]:
        before = super().environment
        return {**before, "PYTHONPATH": f"{self.base}{os.pathsep}{before['PYTHONPATH']}"}


def send(daemon: Daemon, round_: str) -> None:
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=30) as client:
        for number in range(SENDERS):
            recipient = f"{round_}{number}@x.example.com"
            client.sendmail(f"s{number}@a.example", [recipient], "Subject: t\r\n\r\nx\r\n")


@pytest.mark.seed(45)
def test_the_mail_of_a_worker_that_is_killed_for_good_is_nobodys_at_no_time() -> None:
    with SinkThread() as sink, KillableDaemon(relay=sink.port, queues=3, config=HASHED) as daemon:
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        send(daemon, "before")
        parts = [daemon.counts(queue)["messages"] for queue in (1, 2, 3)]
        assert sum(parts) == SENDERS and min(parts) > 0, "every sender is some queue's"
        daemon.wait_until(
            lambda: daemon.queue(BAD).messages == parts[BAD - 1], what="the board shows them"
        )
        killer = daemon.base / "sitecustomize.py"
        killer.write_text(KILLER)
        os.kill(daemon.queue(BAD).pid, signal.SIGKILL)
        daemon.wait_until(lambda: len(daemon.events("worker-exited")) >= 2, what="it fails again")

        # Its senders are taken by the others, which deliver theirs; what it has is shown.
        assert postroom(daemon, "delivery", "resume")[0] == 0
        send(daemon, "while")
        alive = SENDERS - parts[BAD - 1] + SENDERS
        sink.wait_for(alive)
        code, table = postroom(daemon, "queue", "list")
        [line] = [line for line in table.splitlines() if line.startswith(f"queue{BAD} ")]
        assert code == 1 and "FAILED" in line
        assert daemon.queue(BAD).messages == parts[BAD - 1]

        killer.unlink()
        sink.wait_for(2 * SENDERS, 30)
        expected = [f"{when}{number}@x.example.com" for when in ("before", "while")
                    for number in range(SENDERS)]  # fmt: skip
        assert sorted(sink.recipients) == sorted(expected), "each came once"
