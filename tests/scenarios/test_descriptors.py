"""Few descriptors and many clients; accepting pauses before they run out."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

LIMIT = 256
CLIENTS = 400
HOGS = 30
"""Clients that connect and say nothing."""

FEW_FILES = (
    "sh", "-c", f'ulimit -n {LIMIT} && exec "$@"', "sh",
    sys.executable, "-m", "postroom.supervisor.serve",
)  # fmt: skip
WIDE = "[channel.default]\nconcurrency = 500\nper_site = { concurrency = 500 }\n"


async def send(port: int, name: str) -> None:
    """Send one message and stay connected for a moment, as clients do."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(60):
            commands = f"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<{name}>\r\n"
            for line in (None, *commands.splitlines(), "DATA", "S: x\r\n\r\nx\r\n."):
                if line is not None:
                    writer.write(line.encode() + b"\r\n")
                reply = await reader.readuntil(b"\r\n")
                while reply[3:4] == b"-":
                    reply = await reader.readuntil(b"\r\n")
                assert reply[:1] in b"23", reply
            await asyncio.sleep(0.1)
    finally:
        writer.close()


async def load(port: int, descriptors: Path) -> int:
    """Send from all clients at once; return the most descriptors that were seen open."""
    peak = 0

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, len(list(descriptors.iterdir())))
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    hogs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(HOGS)]
    await asyncio.gather(*(send(port, f"r{number}@example.com") for number in range(CLIENTS)))
    for _, writer in hogs:
        writer.close()
    watching.cancel()
    return peak


@pytest.mark.seed(25)
def test_nothing_is_refused_or_lost_and_no_descriptor_is_missing() -> None:
    with (
        SinkThread("content delay=300ms") as sink,
        Daemon(relay=sink.port, queues=1, config=WIDE, command=FEW_FILES) as daemon,
    ):
        ignored = daemon.wait_for_event("setting-ignored")
        assert f"{LIMIT} files" in ignored["reason"]
        descriptors = Path(f"/proc/{daemon.queue(1).pid}/fd")
        peak = asyncio.run(load(daemon.port, descriptors))
        sink.wait_for(CLIENTS, 60)
        assert sorted(sink.recipients) == sorted(f"r{n}@example.com" for n in range(CLIENTS))
        assert peak < LIMIT - 16
        assert daemon.events("deferred") == []
        assert "Too many open files" not in daemon.errors()
        assert [event for event in daemon.log() if event["event"] == "defect"] == []
