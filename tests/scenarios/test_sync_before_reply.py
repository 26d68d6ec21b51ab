"""No 250 to the end of data leaves before the sync that covers its message, call by call.

strace watches both workers under a load of several sessions. The same check is shown to fail of a
server whose store answers before its commit.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.ledger import Ledger
from tests.support.load import Load
from tests.support.sink import SinkThread
from tests.support.syscalls import Reading, Trace, check

SESSIONS = 6
MESSAGES = 60
HASTY = """
import sys
if any(word.endswith("worker_main") for word in sys.orig_argv):
    import asyncio
    from postroom.spool.embedded.store import EmbeddedStore
    put = EmbeddedStore.put
    def answer_at_once(self, message):
        put(self, message).add_done_callback(lambda done: done.exception())
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future
    EmbeddedStore.put = answer_at_once
"""


class HastyDaemon(Daemon):
    """A server whose workers answer before their commit."""

    @property
    def environment(self) -> dict[str, str]:
        place = self.base / "hasty"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(HASTY)
        found = super().environment
        return {**found, "PYTHONPATH": os.pathsep.join([str(place), found["PYTHONPATH"]])}


def traced(daemon: Daemon, output: Path) -> Reading:
    """Send messages by several sessions while the workers are watched."""
    pids = [queue.pid for queue in daemon.status().queues]
    trace = Trace(output, pids)
    ledger = Ledger()
    port = daemon.port

    async def send() -> None:
        load = Load(ledger, random.Random(5), "m")
        sending = asyncio.create_task(load.run(SESSIONS, lambda: port))
        async with asyncio.timeout(60):
            while sum(one.acknowledged for one in ledger.sent.values()) < MESSAGES:
                await asyncio.sleep(0.02)
        load.stop()
        await sending

    try:
        asyncio.run(send())
    finally:
        lines = trace.stop()
    reading = check(lines)
    acknowledged = sum(one.acknowledged for one in ledger.sent.values())
    assert reading.replies == acknowledged >= MESSAGES, "every reply was seen"
    return reading


@pytest.fixture(autouse=True)
def _strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: it shows the order of calls (make peers)")


def test_every_reply_leaves_after_the_sync_that_covers_its_message(tmp_path: Path) -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        reading = traced(daemon, tmp_path / "trace")
    print(f"{reading.replies} replies behind their sync: {dict(reading.ways)}")
    assert reading.violations == []
    # Both ways to commit were met: by the kernel in the background, and by the writer thread.
    assert reading.ways["pwritev2"] > 0 and reading.ways.total() == reading.replies


def test_a_server_that_answers_before_its_commit_is_caught(tmp_path: Path) -> None:
    with SinkThread() as sink, HastyDaemon(relay=sink.port, queues=2) as daemon:
        reading = traced(daemon, tmp_path / "trace")
    print(f"{len(reading.violations)} of {reading.replies} replies before their sync")
    assert len(reading.violations) > reading.replies / 2
