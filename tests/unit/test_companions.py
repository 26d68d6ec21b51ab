"""Companions are kept running: real processes, started again, reloaded and stopped."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from postroom.config.console import ConsolePolicy
from postroom.config.model import Config, LogPolicy
from postroom.core.clock import SystemClock
from postroom.observe.events import EventList, WorkerExited
from postroom.spool.policy import SpoolPolicy
from postroom.supervisor.companions import CompanionKind, Companions
from postroom.supervisor.link import CompanionBegin
from postroom.supervisor.process import environment_of

SOURCE = Path(__file__).resolve().parents[2] / "src" / "postroom"
BARE = CompanionKind(
    "bare",
    (sys.executable, "-m", "tests.support.bare_companion"),
    lambda config: bool(config.console.address),
    lambda config: config.console.address,
)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Running:
    """Companions with everything around them."""

    def __init__(self, base: Path, *, address: str = "127.0.0.1:0") -> None:
        self.base = base
        self.config = Config(
            hostname="one",
            spool=SpoolPolicy(base=str(base)),
            log=LogPolicy(path=str(base / "log"), format="json"),
            console=ConsolePolicy(address=(address,) if address else ()),
        )
        self.events = EventList()
        self.companions = Companions(self.config, SystemClock(), self.events, [BARE])

    @property
    def state(self) -> str:
        return next((one.state for one in self.companions.status()), "none")

    @property
    def pid(self) -> int:
        return self.companions.status()[0].pid

    def said(self) -> list[str]:
        path = self.base / "said"
        return path.read_text().split() if path.exists() else []


def with_companions(
    base: Path, script: Callable[[Running], Awaitable[None]], *, address: str = "127.0.0.1:0"
) -> Running:
    async def run() -> Running:
        running = Running(base, address=address)
        task = asyncio.create_task(running.companions.run())
        try:
            await script(running)
        finally:
            running.companions.stop()
            await asyncio.wait_for(task, 20)
            running.companions.close()
        return running

    return asyncio.run(run())


def test_a_companion_serves_on_the_socket_that_was_bound_for_it(tmp_path: Path) -> None:
    async def script(running: Running) -> None:
        await until(lambda: running.state == "running")
        host, port = running.companions.addresses()[0].rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await reader.readline() == b"one\n"
        writer.close()

    with_companions(tmp_path, script)


def test_one_that_is_killed_is_started_again_on_the_same_port(tmp_path: Path) -> None:
    async def script(running: Running) -> None:
        await until(lambda: running.state == "running")
        address, first = running.companions.addresses(), running.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: running.state == "failed")
        assert running.companions.status()[0].error == "SIGKILL"
        await until(lambda: running.state == "running" and running.pid != first)
        assert running.companions.addresses() == address
        assert running.companions.status()[0].restarts == 1

    running = with_companions(tmp_path, script)
    ends = [one for one in running.events.events if isinstance(one, WorkerExited)]
    assert [(one.worker, one.status, one.restart_in_s) for one in ends] == [
        ("bare", "SIGKILL", 1.0),
        ("bare", "exit 0", 0.0),
    ]


def test_a_reload_reaches_it_and_a_stop_is_graceful(tmp_path: Path) -> None:
    async def script(running: Running) -> None:
        await until(lambda: running.state == "running")
        running.companions.commit(msgspec.structs.replace(running.config, hostname="two"))
        running.companions.reopen_logs()
        await until(lambda: "apply:two" in running.said())

    running = with_companions(tmp_path, script)
    assert running.said() == ["apply:two", "stop"]


def test_one_that_cannot_follow_an_order_is_begun_anew_and_hears_again(tmp_path: Path) -> None:
    async def script(running: Running) -> None:
        await until(lambda: running.state == "running")
        first = running.pid
        running.companions.commit(msgspec.structs.replace(running.config, hostname="unbearable"))
        await until(lambda: running.state == "failed")
        assert "a defect" in running.companions.status()[0].error
        running.companions.commit(running.config)
        await until(lambda: running.state == "running" and running.pid != first)

    running = with_companions(tmp_path, script)
    assert running.said()[-1] == "stop"


def test_one_that_is_not_wanted_any_more_stops_and_starts_when_it_is(tmp_path: Path) -> None:
    async def script(running: Running) -> None:
        await until(lambda: running.state == "running")
        running.companions.commit(msgspec.structs.replace(running.config, console=ConsolePolicy()))
        await until(lambda: running.state == "none")
        running.companions.commit(running.config)
        await until(lambda: running.state == "running")
        assert running.companions.status()[0].restarts == 0

    with_companions(tmp_path, script)


def test_an_address_that_is_taken_is_told_by_its_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match="bare: cannot bind " + address):
            Running(tmp_path, address=address)


def test_a_companion_has_one_arena_of_memory_unless_the_operator_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    begin = CompanionBegin(Running(tmp_path, address="").config, "bare", ())
    assert environment_of(begin)["MALLOC_ARENA_MAX"] == "1"
    monkeypatch.setenv("MALLOC_ARENA_MAX", "3")
    environment = environment_of(begin)
    assert environment["MALLOC_ARENA_MAX"] == "3" and environment["PATH"] == os.environ["PATH"]


def test_only_companions_name_an_http_library() -> None:
    wrong = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "aiohttp" for name in names):
                wrong.append(path.relative_to(SOURCE).parts[0])
    assert set(wrong) <= {"console", "webhooks"}


@pytest.mark.parametrize("module", ["master", "worker_main", "serve"])
def test_master_and_worker_load_no_http_library(module: str) -> None:
    code = f"import sys, postroom.supervisor.{module}; sys.exit('aiohttp' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
