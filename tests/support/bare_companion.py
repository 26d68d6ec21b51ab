"""A companion without a purpose: says its hostname to whoever connects, notes what it is told."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from postroom.config.model import Config
from postroom.core.clock import Clock
from postroom.observe.log import EventLog
from postroom.supervisor.companion import main
from postroom.supervisor.link import CompanionBegin


class BareCompanion:
    """Satisfies supervisor.companion.Companion."""

    def __init__(self, begin: CompanionBegin) -> None:
        self._begin = begin
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        listener = socket.socket(fileno=self._begin.sockets[0].descriptor)
        server = await asyncio.start_server(self._greet, sock=listener)
        await self._stopped.wait()
        server.close()

    async def _greet(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._begin.config.hostname.encode() + b"\n")
        await writer.drain()
        writer.close()

    def apply(self, config: Config) -> None:
        assert config.hostname != "unbearable", "a defect"
        self._note(f"apply:{config.hostname}")

    async def stop(self, deadline_s: float) -> None:
        self._note("stop")
        self._stopped.set()

    def _note(self, word: str) -> None:
        with (Path(self._begin.config.spool.base) / "said").open("a") as said:
            said.write(word + "\n")


async def open_bare(begin: CompanionBegin, _clock: Clock, _log: EventLog) -> BareCompanion:
    return BareCompanion(begin)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], open_bare))
