"""A worker that ends at once: started again with growing pauses, for ever, and alone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

BAD = 3
MESSAGES = 30
# Python imports a module of this name at its start; only the worker of one queue is changed.
KILLER = f"""
import os, sys
if "postroom.supervisor.worker_main" in sys.orig_argv:
    from postroom.supervisor.worker import Worker
    run = Worker.run
    async def failing(self):
        if self._begin.queue == {BAD}:
            os._exit(7)
        return await run(self)
    Worker.run = failing
"""


class FailingDaemon(Daemon):
    """A server of which one queue's worker ends as soon as it is started."""

    def start(self, *, queues_down: int = 1) -> Daemon:
        self.killer.parent.mkdir()
        self.killer.write_text(KILLER)
        return super().start(queues_down=queues_down)

    @property
    def killer(self) -> Path:
        return self.base / "killer" / "sitecustomize.py"

    @property
    def environment(self) -> dict[str, str]:
        before = super().environment
        paths = f"{self.killer.parent}{os.pathsep}{before['PYTHONPATH']}"
        return {**before, "PYTHONPATH": paths}


def bad(daemon: Daemon) -> dict[str, Any]:
    code, text = postroom(daemon, "queue", "list", "--json")
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert code == (0 if all(row["state"] == "running" for row in rows) else 1)
    [row] = [row for row in rows if row["queue"] == BAD]
    assert [one["state"] for one in rows if one is not row] == ["running"] * (len(rows) - 1)
    return row  # type: ignore[no-any-return]


@pytest.mark.seed(53)
def test_a_queue_whose_worker_ends_at_once_is_shown_and_keeps_no_other_from_working() -> None:
    with SinkThread() as sink, FailingDaemon(relay=sink.port, queues=4) as daemon:
        pids = {queue.queue: queue.pid for queue in daemon.status().queues}
        for number in range(MESSAGES):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        sink.wait_for(MESSAGES)

        daemon.wait_until(lambda: len(daemon.events("worker-exited")) >= 3, 30)
        ends = daemon.events("worker-exited")[:3]
        assert [(end["worker"], end["status"], end["restart_in_s"]) for end in ends] == [
            (f"queue{BAD}", "exit 7", pause) for pause in (1.0, 2.0, 4.0)
        ]
        row = bad(daemon)
        assert row["state"] == "FAILED (back-off)"
        worker = row["worker"]
        assert (worker["state"], worker["error"], worker["restarts"]) == ("failed", "exit 7", 3)
        assert 0 < worker["starts_at"] - time.time() <= 4.0
        code, table = postroom(daemon, "queue", "list")
        [line] = [line for line in table.splitlines() if line.startswith(f"queue{BAD} ")]
        assert code == 1 and "FAILED (back-off)" in line
        assert "exit 7; starts again at " in line
        assert "FAILED (back-off)" in postroom(daemon, "status")[1]

        # Once its reason is gone it comes back by itself; the others never noticed.
        daemon.killer.unlink()
        daemon.wait_until(lambda: daemon.queue(BAD).state == "running", 30)
        row = bad(daemon)
        assert row["state"] == "running" and row["worker"]["starts_at"] == 0.0
        assert row["worker"]["error"] == "exit 7"
        now = {queue.queue: queue.pid for queue in daemon.status().queues}
        assert all(now[queue] == pids[queue] for queue in now if queue != BAD)
