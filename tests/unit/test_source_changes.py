"""Pauses that are asked for at once, or while one is being kept, are all in force and kept."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from postroom.core.clock import SystemClock
from postroom.observe.events import EventList
from postroom.shaping.pauses import Pause
from postroom.shaping.source import SourcePolicy
from postroom.supervisor.source_changes import SourceChanges
from postroom.supervisor.source_pauses import SourcePauses


class Server:
    """What is needed of the master."""

    def __init__(self, base: Path) -> None:
        self.clock = SystemClock()
        self.config: Any = self
        self.spool: Any = self
        self.base = str(base)
        self.hostname = "test.example"
        self.channels: tuple[Any, ...] = ()
        self.sources = tuple(SourcePolicy(name, ("192.0.2.1",)) for name in "abc")
        self.fleet: Any = self

    def tell_all(self, message: object) -> None:
        """Nobody is there to be told."""


def paused(base: Path) -> set[str]:
    return {one.source for one in SourcePauses(base).read()}


def test_pauses_asked_for_at_once_are_all_made(tmp_path: Path) -> None:
    async def scene() -> None:
        changes = SourceChanges(Server(tmp_path), EventList())
        await asyncio.gather(*(changes.pause(name, "", 0.0, "") for name in "abc"))
        assert {one.source for one in changes.pauses()} == set("abc")
        await asyncio.gather(changes.resume("a", ""), changes.resume("b", ""))
        assert {one.source for one in changes.pauses()} == {"c"} == paused(tmp_path)

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_block_that_is_found_while_another_change_is_kept_is_not_lost(tmp_path: Path) -> None:
    async def scene() -> None:
        server = Server(tmp_path)
        changes = SourceChanges(server, EventList())
        await changes.pause("a", "", 0.0, "")
        begun, go_on = asyncio.Event(), threading.Event()
        loop, keep = asyncio.get_running_loop(), changes._file.keep

        def slowly(pauses: Any) -> None:
            loop.call_soon_threadsafe(begun.set)
            assert go_on.wait(20)
            keep(pauses)

        changes._file.keep = slowly  # type: ignore[method-assign]
        resuming = asyncio.create_task(changes.resume("a", ""))
        await begun.wait()
        now = server.clock.now()
        changes.blocked(Pause("b", "mx.test", now + 100, "blocked", now, is_automatic=True))
        go_on.set()
        await resuming
        await changes.close()
        assert {one.source for one in changes.pauses()} == {"b"} == paused(tmp_path)

    asyncio.run(asyncio.wait_for(scene(), 30))
