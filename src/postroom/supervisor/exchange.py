"""What one queue has to do with the others of its server: moves, and mail handed over.

Joins the peer socket, the links to other queues, placement, departures, arrivals and draining;
owns their life. What can be seen of the other queues is looked up here, on the status board; a
queue takes mail that delivers, was heard of lately and has room. Mail of a draining queue goes
to the one of its group with the fewest messages.

Called by: supervisor.mail_service.  Raises: OSError from `start`; ControlError.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from postroom.control.answers import Changed
from postroom.control.commands import PAGE_MAX, MailMoveArgs
from postroom.control.mail_commands import done
from postroom.control.paths import RunPaths, bind_unix, connect_unix
from postroom.control.protocol import Code, ControlError
from postroom.core.clock import Clock
from postroom.engine.arrivals import Arrivals
from postroom.engine.distributor import Distributor
from postroom.engine.drainer import Drainer
from postroom.engine.engine import Engine
from postroom.engine.holds import Holds
from postroom.engine.mover import Mover, MoveRefused
from postroom.engine.parts import Parts
from postroom.engine.peers import PeerLost
from postroom.engine.steering import Steering, may_move
from postroom.engine.transit import Place
from postroom.groups.placement import Candidate
from postroom.observe.board import Board, BoardRow, WorkerState
from postroom.peer.host import QueueHost
from postroom.peer.neighbours import Neighbours
from postroom.peer.server import PeerServer
from postroom.spool.embedded import read_manifest
from postroom.supervisor.turns import HEARTBEAT_AGE_MAX_S


class Exchange:
    """One queue among others. `largest` says how large a message may be."""

    def __init__(
        self,
        base: Path,
        own: Place,
        parts: Parts,
        engine: Engine,
        board: Board,
        largest: Callable[[], int],
    ) -> None:
        self._base = base
        self._paths = RunPaths(base)
        self._own = own
        self._board = board
        self._clock: Clock = parts.clock
        self._largest = largest
        self._neighbours = Neighbours(own, self._connect)
        self.holds = Holds(parts.store, parts.clock)
        """To be shared with whoever else changes why mail is held."""
        self.mover = Mover(parts, engine, self._neighbours, self.holds, self._is_known)
        self._arrivals = Arrivals(parts, own, engine.intake, engine, self._neighbours, self.holds)
        self._arrivals.is_retired = self._is_retired
        self._host = QueueHost(own, engine.intake, self._arrivals, self.mover)
        self._drainer = Drainer(parts, self.mover, self._refuge)
        self.distributor = Distributor(
            own.number, engine.intake, parts.clock, parts.entropy, parts.events,
            (self._takers, self._neighbours.hand_over),
        )  # fmt: skip
        self._server: PeerServer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._draining: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen to the others, and take up what an earlier life began."""
        self._server = PeerServer(bind_unix(self._paths.peer(self._own.number)), self._host)
        await self._server.start()
        self._tasks = [
            asyncio.create_task(self.mover.run()),
            asyncio.create_task(self._arrivals.run()),
        ]

    def drain(self, wanted: bool) -> None:
        """Move all mail to other queues from now on, or no more."""
        if wanted and self._draining is None:
            self._draining = asyncio.create_task(self._drainer.run())
        elif not wanted and self._draining is not None:
            self._draining.cancel()
            self._draining = None

    async def close(self, deadline_s: float) -> None:
        """Begin nothing more; what is half-way is taken up after the next start."""
        self.drain(False)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.close(deadline_s)
        self._neighbours.close()

    async def move(self, args: MailMoveArgs, steering: Steering) -> Changed:
        """The command `mail move`."""
        if args.to == self._own.number:
            return Changed(0)
        to = self._place(args.to)
        if to is None:
            hint = "see them: postroom queue list"
            raise ControlError(f"there is no queue{args.to}", hint, Code.NOT_FOUND)
        args = msgspec.structs.replace(args, limit=max(1, min(args.limit, PAGE_MAX)))
        try:
            return await done(
                steering, args, lambda walk: steering.move(walk, to, self.mover), may_move
            )
        except (MoveRefused, PeerLost) as error:
            hint = "what was not moved stays where it is; see: postroom queue list"
            raise ControlError(str(error), hint, Code.UNAVAILABLE) from error

    def _connect(self, number: int) -> socket.socket:
        return connect_unix(self._paths.peer(number), 1.0)

    def _place(self, number: int) -> Place | None:
        for place in self._places():
            if place.number == number:
                return place
        return None

    def _is_known(self, place: Place) -> bool:
        return any(one.identity == place.identity for one in self._places())

    def _is_retired(self, place: Place) -> bool:
        manifest = read_manifest(self._base)
        return manifest is not None and place.identity in manifest.retired

    def _places(self) -> list[Place]:
        manifest = read_manifest(self._base)
        queues = manifest.queues if manifest is not None else ()
        return [Place(one.number, one.identity) for one in queues]

    def _refuge(self) -> Place | None:
        """Name the queue that mail of this one goes to, None where no other can take it."""
        group = self.distributor.group_of_own()
        takers = [
            row
            for row in self._rows()
            if row.queue != self._own.number
            and row.room > self._largest()
            and self.distributor.owns(group, row.queue)
        ]
        if not takers:
            return None
        return self._place(min(takers, key=lambda row: row.messages).queue)

    def _takers(self) -> list[tuple[Candidate, int]]:
        """Give the queues that take mail, ours among them, and how much of it."""
        return [(Candidate(row.queue, row.load_ppm), row.room) for row in self._rows()]

    def _rows(self) -> list[BoardRow]:
        """Give the rows of queues that take mail: those that deliver it, where any does."""
        since = self._clock.now() - HEARTBEAT_AGE_MAX_S
        rows = [row for row in self._board.read_all() if row.heartbeat >= since and row.room > 0]
        running = [row for row in rows if row.state is WorkerState.RUNNING]
        return running or [row for row in rows if row.state is WorkerState.SUSPENDED]
