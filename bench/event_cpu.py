"""CPU that the events of one message cost: the log alone, and the stream beside it.

Three events for each message (accepted, delivered, done) at a steady pace through an event loop,
as a worker emits them; CPU of the whole process, the thread that writes included, in
microseconds for each message, the least of some rounds.

    PYTHONPATH=src python bench/event_cpu.py [--messages N] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from postroom.core.clock import SystemClock
from postroom.observe.events import MessageAccepted, MessageDone, RecipientDelivered
from postroom.observe.log import NOWHERE, EventLog
from postroom.observe.stream.policy import EventsPolicy
from postroom.observe.stream.writer import StreamWriter

BATCH_MESSAGES = 50
"""Emitted in one turn of the loop."""


async def emit(log: EventLog, messages: int) -> None:
    for number in range(0, messages, BATCH_MESSAGES):
        for one in range(number, number + BATCH_MESSAGES):
            name = f"1mg3c9e4s8{one:06x}"
            log.emit(MessageAccepted(name, "list@example.org", 1, 4096, "ESMTP", "192.0.2.1"))
            log.emit(
                RecipientDelivered(
                    name, "somebody@example.com", "default", "example.com", "mx1.example.com",
                    "250 2.0.0 Ok: queued as 4F1A2B3C4D", 1, 0.042,
                )
            )  # fmt: skip
            log.emit(MessageDone(name))
        await asyncio.sleep(0)
    log.flush()


def measure(directory: Path, messages: int, path: str, form: str, *, streams: bool) -> float:
    """Return microseconds of CPU for each message."""
    clock = SystemClock()
    policy = EventsPolicy(str(directory / "events"))
    log = EventLog(
        path, form, "queue1", clock, StreamWriter(policy, "queue1", clock) if streams else None
    )
    began = time.process_time()
    asyncio.run(emit(log, messages))
    log.close()
    return (time.process_time() - began) / messages * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    forms = (
        ("no log, no stream", NOWHERE, "json", False),
        ("JSON log", "log", "json", False),
        ("JSON log and stream", "log", "json", True),
        ("text log", "log", "text", False),
        ("text log and stream", "log", "text", True),
        ("stream alone", NOWHERE, "json", True),
    )
    found: dict[str, list[float]] = {name: [] for name, *_ in forms}
    for _ in range(options.rounds):
        for name, path, form, streams in forms:
            with tempfile.TemporaryDirectory() as place:
                directory = Path(place)
                target = path if path == NOWHERE else str(directory / path)
                cost = measure(directory, options.messages, target, form, streams=streams)
                found[name].append(cost)
    for name, costs in found.items():
        print(f"{name:20} {min(costs):6.2f} us a message")


if __name__ == "__main__":
    main()
