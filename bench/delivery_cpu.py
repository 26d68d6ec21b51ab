"""CPU that one delivered message costs the delivering side.

Runs the agent over kept-open connections against Postfix's smtp-sink on loopback, with a
fixed number of attempts at a time, and prints microseconds of CPU of this process per
message and messages per second. The sink's CPU is not counted.

    PYTHONPATH=src python bench/delivery_cpu.py [--messages N] [--profile] [--asyncio]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import SystemClock
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, MemoryContent, OutcomeKind, Recipient
from postroom.delivery.agent import RoutedAgent
from postroom.delivery.attempt import Attempt
from postroom.routing.destination import Destination, NextHop
from postroom.routing.policy import RelayHost, RelayRoute, TlsPolicy

SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/libexec/postfix:/usr/local/sbin")
CONTENT_OCTETS = 4096


class Literals:
    """Resolves nothing but literals."""

    async def mx(self, domain: str, port: int) -> tuple[NextHop, ...]:
        raise NotImplementedError

    async def addresses(self, host: str) -> tuple[str, ...]:
        return (host,)


def attempts(number: int, port: int, transactions_max: int) -> Iterator[Attempt]:
    header = b"Received: from client.test by relay.test; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    line = b"x" * 78 + b"\r\n"
    body = (b"Subject: bench\r\n\r\n" + line * (CONTENT_OCTETS // len(line)))[:CONTENT_OCTETS]
    route = RelayRoute("out", (RelayHost("127.0.0.1", port),), tls=TlsPolicy("none"))
    destination = Destination(
        domain="a.test",
        channel=ChannelPolicy("default", transactions_max=transactions_max),
        route=route,
        site="127.0.0.1",
        hops=(NextHop("127.0.0.1", port),),
    )
    for count in range(number):
        yield Attempt(
            id=QueueId(f"{count:016d}"),
            envelope=Envelope("from@b.test", (Recipient(f"user{count}@a.test"),)),
            content=MemoryContent((header, body)),
            destination=destination,
        )


async def deliver_all(arguments: argparse.Namespace, port: int) -> tuple[float, float, int]:
    agent = RoutedAgent(Literals(), SystemClock(), random.Random(1), "relay.test")
    delivered = 0

    async def one_after_another(queue: Iterator[Attempt]) -> None:
        nonlocal delivered
        for attempt in queue:
            report = await agent.deliver(attempt)
            delivered += report.outcomes[0].kind is OutcomeKind.DELIVERED

    async def run(number: int) -> tuple[float, float]:
        queue = iter(list(attempts(number, port, arguments.transactions)))
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*[one_after_another(queue) for _ in range(arguments.concurrency)])
        return time.process_time() - cpu, time.perf_counter() - wall

    await run(500)
    delivered = 0
    cpu_s, wall_s = await run(arguments.messages)
    await agent.close()
    return cpu_s, wall_s, delivered


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit("the sink does not listen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=20)
    parser.add_argument("--transactions", type=int, default=1_000_000)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--asyncio", action="store_true", help="without uvloop")
    parser.add_argument("--port", type=int, help="a sink that runs already")
    arguments = parser.parse_args()
    port = arguments.port or free_port()
    sink = None
    if arguments.port is None:
        if SINK is None:
            sys.exit("smtp-sink is missing: install Postfix, or give --port of another sink")
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        sink = subprocess.Popen(
            [SINK, *user, f"127.0.0.1:{port}", "1000"], stdout=subprocess.DEVNULL
        )
        wait_for(port)
    factory = None
    if not arguments.asyncio:
        import uvloop

        factory = uvloop.new_event_loop
    profiler = cProfile.Profile() if arguments.profile else None
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            if profiler:
                profiler.enable()
            cpu_s, wall_s, delivered = runner.run(deliver_all(arguments, port))
            if profiler:
                profiler.disable()
    finally:
        if sink is not None:
            sink.terminate()
            sink.wait()
    print(
        f"{delivered} of {arguments.messages} delivered, {arguments.concurrency} at a time: "
        f"{cpu_s / arguments.messages * 1e6:.1f} us CPU per message, "
        f"{arguments.messages / wall_s:.0f} messages/s"
    )
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
