"""What happens to a server during a soak besides mail: faults, operators, programs that look.

Each kind is a task of its own that does its thing again and again, at times from the dice:

    kills       SIGKILL to a worker, now and then to a companion
    outages     the host that is down for a while
    reloads     the configuration file with another limit, and `postroom reload`
    operators   verbs and views of the command line
    watchers    the HTTP API, metrics, a stream of server-sent events that is followed for a while
    scaling     queues that are made and go again
    receiver    the webhook is refused for a while

Called by: tests.support.soak_run.  Raises: nothing for what the server says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable

from postroom.control.protocol import ControlError
from tests.support.crash_features import Features
from tests.support.daemon import Daemon
from tests.support.soak_sites import Sites

COMMANDS = (
    ("mail", "list"), ("mail", "count"), ("mailq", "--counts"), ("mail", "run", "channel=defer"),
    ("mail", "hold", "domain=hang.example"), ("mail", "release", "all"), ("mail", "release", "all"),
    ("status",), ("queue", "list"), ("channel", "list"), ("site", "list"), ("why", "defer.example"),
    ("top", "--once"), ("load",), ("channel", "suspend", "defer"), ("channel", "resume", "defer"),
    ("channel", "resume", "defer"), ("webhook", "list"),
    ("events", "--since", "5s", "--limit", "50"),
)  # fmt: skip
PATHS = (
    "/api/v1/overview", "/metrics", "/api/v1/status", "/api/v1/messages?limit=50", "/api/v1/sites",
    "/api/v1/channels", "/api/v1/events?limit=100", "/healthz", "/", "/api/v1/load",
    "/api/v1/overview/sites",
)  # fmt: skip
STREAM = "/api/v1/stream"
COMMAND_DEADLINE_S = 60.0


class Unrest:
    """Everything that disturbs one server."""

    def __init__(
        self, daemon: Daemon, sites: Sites, features: Features, dice: random.Random, seconds: float,
        reconfigure: Callable[[int], str],
    ) -> None:  # fmt: skip
        self._daemon, self._sites, self._features = daemon, sites, features
        self._dice, self._reconfigure = dice, reconfigure
        self._scale = min(1.0, max(0.03, seconds / 600.0))
        """Short runs do everything more often."""
        self.done: Counter[str] = Counter()
        self.killed: set[int] = set()
        self.troubles: Counter[str] = Counter()
        self.on_mark: Callable[[str], None] = lambda what: None

    async def run(self) -> None:
        """Disturb until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind, least_s, most_s in (
                (self._kill, 60.0, 150.0),
                (self._outage, 60.0, 120.0),
                (self._reload, 40.0, 80.0),
                (self._command, 1.5, 4.0),
                (self._look, 0.2, 1.0),
                (self._follow, 2.0, 20.0),
                (self._grow_or_shrink, 15.0, 40.0),
                (self._refuse, 60.0, 120.0),
            ):
                group.create_task(self._again(kind, least_s, most_s))

    async def _again(
        self, kind: Callable[[], Awaitable[None]], least_s: float, most_s: float
    ) -> None:
        scale = self._scale if least_s > 10 else 1.0
        while True:
            await asyncio.sleep(self._dice.uniform(least_s, most_s) * scale)
            try:
                await kind()
            except (OSError, EOFError, ControlError, TimeoutError) as error:
                # Whoever was asked was just killed, or is not up yet.
                self.troubles[f"{kind.__name__[1:]}: {type(error).__name__}"] += 1

    async def _kill(self) -> None:
        status = await asyncio.to_thread(self._daemon.status)
        one = self._dice.choice(
            [*(queue.pid for queue in status.queues if queue.state == "running")] * 2
            + [companion.pid for companion in status.companions if companion.pid]
        )
        self.killed.add(one)
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
        self.done["kill"] += 1
        self.on_mark("kill")

    async def _outage(self) -> None:
        self._sites.stop_down()
        self.done["outage"] += 1
        self.on_mark("outage")
        try:
            await asyncio.sleep(self._dice.uniform(60.0, 180.0) * self._scale)
        finally:
            await asyncio.to_thread(self._sites.start_down)

    async def _reload(self) -> None:
        self._daemon.write_config(self._reconfigure(self._dice.randint(8, 16)))
        await self._said("reload")
        self.done["reload"] += 1

    async def _command(self) -> None:
        await self._said(*self._dice.choice(COMMANDS))
        self.done["command"] += 1

    async def _said(self, *words: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "postroom", "--config", str(self._daemon.file), *words,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            stdin=asyncio.subprocess.DEVNULL, env=self._daemon.environment,
        )  # fmt: skip
        try:
            async with asyncio.timeout(COMMAND_DEADLINE_S):
                if await process.wait() not in (0, 1):
                    self.troubles[f"exit {process.returncode}: {' '.join(words)}"] += 1
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise

    async def settle(self) -> None:
        """Undo what operators did, so that everything can be delivered."""
        for words in (
            ("mail", "release", "all"),
            ("channel", "resume", "defer"),
            ("mail", "run", "all"),
        ):
            await self._said(*words)

    async def _look(self) -> None:
        await self._get(self._dice.choice(PATHS), 20.0)
        self.done["request"] += 1

    async def _follow(self) -> None:
        with contextlib.suppress(TimeoutError):
            await self._get(STREAM, self._dice.uniform(1.0, 15.0))
        self.done["stream"] += 1

    async def _get(self, path: str, seconds: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._features.console)
        try:
            async with asyncio.timeout(seconds):
                head = (
                    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._features.console}\r\n"
                    f"Authorization: Bearer {self._features.token}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode())
                line = await reader.readuntil(b"\r\n")
                if line.split()[1] != b"200":
                    self.troubles[f"{path}: {line.decode().strip()}"] += 1
                while await reader.read(65536):
                    pass
        finally:
            writer.close()

    async def _grow_or_shrink(self) -> None:
        await asyncio.to_thread(self._features.scale, self._daemon, self._dice)
        self.done["scaling"] += 1

    async def _refuse(self) -> None:
        self._features.receiver.status = 503
        self.done["webhook refused"] += 1
        try:
            await asyncio.sleep(self._dice.uniform(10.0, 30.0) * self._scale)
        finally:
            self._features.receiver.status = 200
