"""Listeners of one worker: bound sockets in, SMTP sessions out.

The sockets are bound elsewhere (by the master, with `bind`) and may be shared by several
processes. Each listener accepts on a duplicate, so that accepting can stop and start again
while the kernel keeps queueing connections on the original.

Guarantees: 1. a reload changes every listener or none, and only for new sessions.  2. A
stop cuts no transaction short before its deadline.  3. One timer checks all deadlines.
4. Accepting pauses before descriptors run out.
Called by: supervisor.worker.  Raises: ConfigurationError from start and reload, OSError
from bind.
RFCs: RFC 5321 §3.8.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from postroom.core.clock import Clock
from postroom.hooks.runner import Hooks
from postroom.ingress.acceptor import Acceptor
from postroom.ingress.door import Door, Turn
from postroom.ingress.limits import INTAKE_OCTETS_MAX, IntakeMemory, SessionCount
from postroom.ingress.policy import ListenPolicy
from postroom.ingress.room import Room
from postroom.ingress.session import SmtpSession
from postroom.ingress.settings import ListenSettings
from postroom.ingress.shared import AUTH_FAILURE_DELAY_S, Shared
from postroom.observe.events import EventSink

CONNECTIONS_MAX = 100_000
"""Where the caller knows nothing of descriptors."""
# Deadlines are checked this often, and no later than a quarter of the shortest of them.
_SWEEP_S = 5.0
_SWEEP_MIN_S = 0.01


class Listener:
    """One `[listen.NAME]` table in force: its settings, its sockets, its sessions."""

    def __init__(
        self, settings: ListenSettings, sockets: Sequence[socket.socket], shared: Shared
    ) -> None:
        self.settings = settings
        self.shared = shared
        self.loop = asyncio.get_running_loop()
        self.count = SessionCount()
        self.sessions: set[SmtpSession] = set()
        self.draining = False
        self._sockets = tuple(sockets)
        self._doors: list[Door] = []
        self._empty = asyncio.Event()

    def forget(self, session: SmtpSession) -> None:
        """A session is over."""
        self.sessions.discard(session)
        if not self.sessions:
            self._empty.set()
        if self.shared.turn is not None:
            self.shared.turn.left()

    def accept(self) -> None:
        """Take connections."""
        if self._doors:
            return
        for bound in self._sockets:
            door = Door(bound, lambda: SmtpSession(self), self.shared.turn)
            self._doors.append(door)
            door.open()

    def refrain(self) -> None:
        """Leave new connections to others, or to later."""
        for door in self._doors:
            door.close()
        self._doors.clear()

    async def drained(self) -> None:
        """Return once there is no session."""
        while self.sessions:
            self._empty.clear()
            await self._empty.wait()


class Listeners:
    """All listeners of a worker."""

    def __init__(
        self,
        acceptor: Acceptor,
        events: EventSink,
        clock: Clock,
        *,
        intake_octets: int = INTAKE_OCTETS_MAX,
        auth_delay_s: float = AUTH_FAILURE_DELAY_S,
        turn: Turn | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """`turn` says when to leave a connection to other workers; None: never.

        At `connections_max` connections, over all listeners, new ones wait.
        """
        self._paused = False
        self._room = Room(turn, connections_max, self._refrain, self._accept)
        self._shared = Shared(
            acceptor, events, clock, IntakeMemory(intake_octets), auth_delay_s, self._room
        )
        self._listeners: dict[str, Listener] = {}
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def session_count(self) -> int:
        """How many connections are open."""
        return sum(len(listener.sessions) for listener in self._listeners.values())

    @property
    def is_taking(self) -> bool:
        """False while new connections are left to others, or to later."""
        return not self._paused and self._room.connections < self._room.connections_max

    @property
    def intake_octets_used(self) -> int:
        """Content held for messages that are not durable yet."""
        return self._shared.memory.used_octets

    async def start(self, listens: Sequence[tuple[ListenPolicy, Sequence[socket.socket]]]) -> None:
        """Accept on sockets that are bound already; they stay the caller's to close."""
        ready = [(self._settings(policy), sockets) for policy, sockets in listens]
        for settings, sockets in ready:
            self._listeners[settings.policy.name] = Listener(settings, sockets, self._shared)
        await self.resume()
        self._arm()

    def reload(self, policies: Sequence[ListenPolicy]) -> None:
        """Put new policies in force for new sessions; certificates and users are read again.

        Listeners are found by name; addresses cannot change here, since sockets are bound
        by the caller. Raises ConfigurationError, and then nothing has changed.
        """
        ready = [self._settings(policy) for policy in policies]
        for settings in ready:
            listener = self._listeners.get(settings.policy.name)
            if listener is not None:
                listener.settings = settings
        self._arm()

    def use_hooks(self, hooks: Hooks | None) -> None:
        """Ask another policy file, or none, from the next `start` or `reload` on."""
        self._shared.hooks = hooks

    def _settings(self, policy: ListenPolicy) -> ListenSettings:
        hooks = self._shared.hooks
        asks = hooks is not None and hooks.on_recipient is not None
        return ListenSettings(policy, asks_recipients=asks)

    def limit_connections(self, connections_max: int) -> None:
        """Put a new limit in force; what is connected stays."""
        self._room.connections_max = connections_max
        self._room.look()

    def pause(self) -> None:
        """Take no new connections, because load is high or we drain."""
        self._paused = True
        self._refrain()

    async def resume(self) -> None:
        """Take connections again."""
        self._paused = False
        if self._room.connections < self._room.connections_max:
            self._accept()

    def turn_away(self) -> None:
        """Answer new connections with 421, and end sessions where no transaction is cut short.

        Others that share the sockets take the connections first, where they do.
        """
        for listener in self._listeners.values():
            listener.draining = True
            for session in list(listener.sessions):
                session.drain()

    def welcome(self) -> None:
        """Take mail on new connections again."""
        for listener in self._listeners.values():
            listener.draining = False

    def _refrain(self) -> None:
        for listener in self._listeners.values():
            listener.refrain()

    def _accept(self) -> None:
        if not self._paused:
            for listener in self._listeners.values():
                listener.accept()

    async def stop(self, deadline_s: float) -> None:
        """Accept no more, let transactions in progress finish, then end every session."""
        self.pause()
        self.turn_away()
        listeners = list(self._listeners.values())
        try:
            async with asyncio.timeout(deadline_s):
                for listener in listeners:
                    await listener.drained()
        except TimeoutError:
            # First 421 for those who can still read it, then the connection goes.
            for _ in range(2):
                for listener in listeners:
                    for session in list(listener.sessions):
                        session.cut()
                await asyncio.sleep(0)
        finally:
            if self._sweep is not None:
                self._sweep.cancel()
                self._sweep = None
            self._shared.close()

    def _arm(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        periods = [_SWEEP_S]
        for listener in self._listeners.values():
            policy = listener.settings.policy
            periods += [policy.idle_timeout_s / 4, policy.session_timeout_s / 4]
        period_s = max(_SWEEP_MIN_S, min(periods))
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(period_s, self._check_deadlines)

    def _check_deadlines(self) -> None:
        now = asyncio.get_running_loop().time()
        for listener in self._listeners.values():
            for session in list(listener.sessions):
                session.check_deadline(now)
        self._arm()
