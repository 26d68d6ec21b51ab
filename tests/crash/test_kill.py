"""kill -9 of a real process at random moments loses nothing that was acknowledged.

More rounds: POSTROOM_KILL_ROUNDS=200 pytest tests/crash/test_kill.py.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from postroom.core.clock import SystemClock
from postroom.observe.events import EventList
from postroom.spool import fsck
from postroom.spool.embedded import open_store, prepare_base
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Selection
from tests.contract.store_contract import octets_of, queue_id
from tests.crash.store_victim import POLICY, content_of

ROUNDS = int(os.environ.get("POSTROOM_KILL_ROUNDS", "3"))
SEED = int(os.environ.get("POSTROOM_KILL_SEED", "1"))


def run_victim(directory: Path, seed: int, first: int, kill_after_lines: int) -> list[str]:
    """Start the victim, kill it some time after it said so many lines; return all lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.store_victim", str(directory), str(seed), str(first)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])},
        text=True,
    )
    assert process.stdout is not None
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if len(lines) == kill_after_lines:
            time.sleep(random.Random(seed).random() * 0.003)
            process.kill()
    watchdog.cancel()
    process.wait()
    assert process.returncode == -9
    return lines


def test_no_acknowledged_message_is_lost_by_kill_9(tmp_path: Path) -> None:
    directory = prepare_base(SpoolPolicy(base=str(tmp_path), count=1)).queues[0].path
    entropy = random.Random(SEED)
    acknowledged: set[int] = set()
    settling: set[int] = set()
    first = 0
    for round_number in range(ROUNDS):
        seed = entropy.getrandbits(32)
        lines = run_victim(directory, seed, first, entropy.randint(20, 600))
        for line in lines:
            verb, _, number = line.partition(" ")
            (acknowledged if verb == "put" else settling).add(int(number))
        first = max(acknowledged) + 1000

        async def compare(where: str = f"round {round_number}, seed {SEED}") -> None:
            store = open_store(directory, POLICY, events=EventList(), clock=SystemClock())
            kept = {one.id for one in await store.select(Selection(), 0.0, 1_000_000)}
            for number in acknowledged - settling:
                assert queue_id(number) in kept, where
                content = b"Received: x\r\n" + content_of(number)
                assert await octets_of(store, queue_id(number)) == content, where
            assert store.counts().messages == len(kept)
            await store.close()

        asyncio.run(compare())
        found = fsck.check(directory)
        assert [one for one in found if one.kind != "orphan-segment"] == []
    assert len(acknowledged) > ROUNDS * 10
