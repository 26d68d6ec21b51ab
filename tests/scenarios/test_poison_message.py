"""A message that kills its worker: quarantined after three crashes, and the rest is delivered."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

OTHERS = 6
POISON = "poison@example.com"
# Python imports a module of this name at its start; only the workers' process is changed.
KILLER = """
import os, sys
if "postroom.supervisor.worker_main" in sys.orig_argv:
    from postroom.delivery.agent import RoutedAgent
    deliver = RoutedAgent.deliver
    async def deadly(self, attempt):
        if any(one.address.startswith("poison") for one in attempt.envelope.recipients):
            # As a fault in a library of C would end it: nothing is unwound.
            os.abort()
        return await deliver(self, attempt)
    RoutedAgent.deliver = deadly
"""


class DeadlyDaemon(Daemon):
    """A server whose workers die of delivering to poison@."""

    @property
    def environment(self) -> dict[str, str]:
        directory = self.base / "killer"
        directory.mkdir(exist_ok=True)
        (directory / "sitecustomize.py").write_text(KILLER)
        before = super().environment
        return {**before, "PYTHONPATH": f"{directory}{os.pathsep}{before['PYTHONPATH']}"}


def run(daemon: Daemon, *words: str) -> str:
    """Run a command as an operator does; return what it printed."""
    code, text = postroom(daemon, *words)
    assert code == 0, text
    return text


def crashes(daemon: Daemon) -> int:
    return sum(event["status"] == "SIGABRT" for event in daemon.events("worker-exited"))


@pytest.mark.seed(48)
def test_a_poison_message_is_quarantined_after_three_crashes_and_others_are_delivered() -> None:
    others = [f"r{number}@example.com" for number in range(OTHERS)]
    with (
        SinkThread("content delay=300ms") as sink,
        DeadlyDaemon(relay=sink.port, queues=1) as daemon,
    ):
        run(daemon, "delivery", "suspend")
        for recipient in [*others[:3], POISON, *others[3:]]:
            daemon.send("a@example.org", [recipient])
        run(daemon, "delivery", "resume")

        held = daemon.wait_for_event("held", seconds=40)
        assert held["reason"].startswith("quarantine: ") and "SIGABRT" in held["reason"]
        told = [event for event in daemon.events("suspected") if event["id"] == held["id"]]
        assert [event["crashes"] for event in told] == [1, 2, 3]
        daemon.wait_for_event("done", OTHERS)
        assert crashes(daemon) == 3
        taken = Counter(sink.recipients)
        assert set(taken) == set(others)
        # Guarantee 4: what was in flight at a crash may come twice, nothing else.
        suspected = Counter(event["id"] for event in daemon.events("suspected"))
        assert max(taken.values()) <= 2
        assert sum(taken.values()) - len(taken) <= len(suspected) - 1

        listed = run(daemon, "mail", "list", "-Q")
        assert held["id"] in listed and "quarantine: the worker died 3 times" in listed
        [entry] = in_json(daemon, "mail", "list")
        assert entry["id"] == held["id"] and entry["hold"] == held["reason"]

        # It stays where it is over a restart; mail goes on.
        daemon.stop()
        daemon.start()
        daemon.send("a@example.org", ["new@example.com"])
        sink.wait_for(sum(taken.values()) + 1)
        assert crashes(daemon) == 3 and daemon.counts(1)["held"] == 1

        # A release gives it three more.
        run(daemon, "mail", "release", held["id"])
        again = daemon.wait_for_event("held", 2, seconds=40)
        assert again["id"] == held["id"] and crashes(daemon) == 6
        told = [event for event in daemon.events("suspected") if event["id"] == held["id"]]
        assert [event["crashes"] for event in told] == [1, 2, 3, 1, 2, 3]
        assert not daemon.events("defect")
