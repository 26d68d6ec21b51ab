"""A sink: several remote sites in one process.

Owns the listening sockets and sessions of all sites. Ports may be 0: `addresses` says which
were given. Meant for tests, the demo and benchmarks.

Called by: sink.command, tests.  Raises: OSError where an address cannot be used.
"""

from __future__ import annotations

import asyncio
import random
from types import TracebackType

from postroom.sink.behaviour import Behaviour
from postroom.sink.counters import Counters
from postroom.sink.profile import Profile, Site
from postroom.sink.recorder import Recorder
from postroom.sink.session import SinkSession

BACKLOG = 1024


class Sink:
    """Sites that listen while the sink is entered: `async with Sink(profile) as sink`."""

    def __init__(self, profile: Profile, recorder: Recorder | None = None) -> None:
        self.counters: dict[str, Counters] = {site.name: Counters() for site in profile.sites}
        self.addresses: dict[str, list[tuple[str, int]]] = {}
        self.recorder = recorder
        self._profile = profile
        self._dice = random.Random(profile.seed)
        self._servers: list[asyncio.Server] = []
        self._sessions: set[SinkSession] = set()

    async def __aenter__(self) -> Sink:
        try:
            for site in self._profile.sites:
                await self._listen(site)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _listen(self, site: Site) -> None:
        behaviour = Behaviour(site, random.Random(self._dice.getrandbits(64)))
        counters = self.counters[site.name]

        def session() -> SinkSession:
            made = SinkSession(behaviour, counters, self.recorder, self._sessions.discard)
            self._sessions.add(made)
            return made

        loop = asyncio.get_running_loop()
        for address in site.listen:
            host, _, port = address.rpartition(":")
            if not port.isdigit():
                raise ValueError(f'{address!r} is not an address to listen on ("127.0.0.1:2526")')
            server = await loop.create_server(
                session, host.strip("[]") or "127.0.0.1", int(port), backlog=BACKLOG
            )
            self._servers.append(server)
            given = server.sockets[0].getsockname()
            self.addresses.setdefault(site.name, []).append((given[0], given[1]))

    def port(self, site: str = "sink") -> int:
        """Return the first port of a site."""
        return self.addresses[site][0][1]

    async def close(self) -> None:
        """Stop listening and end all sessions."""
        for server in self._servers:
            server.close()
        for session in tuple(self._sessions):
            session.close()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        if self.recorder is not None:
            self.recorder.close()
