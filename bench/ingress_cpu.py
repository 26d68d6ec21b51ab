"""CPU time of the accepting side per message: session and protocol, nothing kept.

Starts a server with an acceptor in memory in a process of its own, sends messages of 4 KiB
with Postfix's smtp-source, and prints microseconds of CPU (user and system) per message, for
kept-open sessions and for a new connection each. `--profile` prints where the time goes.

    python bench/ingress_cpu.py [--messages 5000] [--sessions 20] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import multiprocessing
import multiprocessing.connection
import pstats
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

from postroom.core.clock import SystemClock
from postroom.core.ids import QueueId, QueueIdGenerator
from postroom.core.message import Envelope, Provenance
from postroom.core.reply import Reply
from postroom.ingress.addresses import bind
from postroom.ingress.listener import Listeners
from postroom.ingress.policy import ListenPolicy
from postroom.observe.events import EventList


class CountingAcceptor:
    """Takes every message, and answers on the next turn of the loop as a store would."""

    def __init__(self) -> None:
        self.messages = 0
        self._ids = QueueIdGenerator(random.Random(1))
        self._shared: asyncio.Future[None] | None = None

    def ready(self, size_octets: int) -> Reply | None:
        return None

    def new_id(self) -> QueueId:
        return self._ids.next(time.time())

    def accept(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
    ) -> asyncio.Future[None]:
        self.messages += 1
        if self._shared is None:
            loop = asyncio.get_running_loop()
            self._shared = loop.create_future()
            loop.call_soon(self._commit)
        return self._shared

    def _commit(self) -> None:
        shared, self._shared = self._shared, None
        assert shared is not None
        shared.set_result(None)


def serve(pipe: multiprocessing.connection.Connection, profile: bool) -> None:
    try:
        import uvloop as loops

        factory = loops.new_event_loop
    except ImportError:
        factory = None

    async def main() -> None:
        policy = ListenPolicy(
            address=("127.0.0.1:0",), hostname="bench.example", messages_max=10**9
        )
        sockets = bind(policy)
        acceptor = CountingAcceptor()
        listeners = Listeners(acceptor, EventList(), SystemClock())
        await listeners.start([(policy, sockets)])
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        before = resource.getrusage(resource.RUSAGE_SELF)
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        pipe.send(sockets[0].getsockname()[1])
        await stop.wait()
        profiler.disable()
        after = resource.getrusage(resource.RUSAGE_SELF)
        await listeners.stop(1.0)
        if profile:
            pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        pipe.send((acceptor.messages, user, system))

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def measure(arguments: argparse.Namespace, *, keep_open: bool) -> str:
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(theirs, arguments.profile))
    server.start()
    port = ours.recv()
    command = [
        arguments.source, "-l", str(arguments.size), "-m", str(arguments.messages),
        "-s", str(arguments.sessions), "-f", "a@example.org", "-t", "b@example.net",
    ]  # fmt: skip
    if keep_open:
        command.append("-d")
    started = time.monotonic()
    subprocess.run([*command, f"inet:127.0.0.1:{port}"], check=True, timeout=300)
    took_s = time.monotonic() - started
    server.terminate()
    messages, user, system = ours.recv()
    server.join()
    each = 1e6 / messages
    return (
        f"{'kept open' if keep_open else 'new connection each':>20}  {messages:6} messages  "
        f"{messages / took_s:8.0f}/s  {(user + system) * each:6.1f} us "
        f"(user {user * each:.1f}, system {system * each:.1f})"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--size", type=int, default=4_096)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    arguments.source = shutil.which("smtp-source", path="/usr/sbin:/usr/lib/postfix/sbin:/usr/bin")
    if arguments.source is None:
        print("smtp-source is missing: apt-get install postfix brings it", file=sys.stderr)
        return 1
    for keep_open in (True, False):
        print(measure(arguments, keep_open=keep_open))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
