"""What workers found out about hosts, passed on to all of them.

Owns what the master knows of hosts that are down, for listings and for workers that start.

Called by: supervisor.fleet, supervisor.master_commands.  Raises: nothing.
"""

from __future__ import annotations

import asyncio

import msgspec

from postroom.config.model import Config
from postroom.control.answers import RelayStatus
from postroom.core.clock import Clock
from postroom.observe.events import EventSink, HostDown, HostUp
from postroom.routing.policy import RelayRoute
from postroom.shaping.hosts import Hosts, KnownHost
from postroom.supervisor.link import HostFound

EXPIRE_LOOK_S = 10.0


class HostHealth:
    """The hosts that are down, as all workers know them together."""

    def __init__(self, clock: Clock, events: EventSink) -> None:
        self._clock = clock
        self._events = events
        self._hosts = Hosts()

    def found(self, found: HostFound) -> None:
        """Take what a worker found out; a change is told once, whoever finds it out as well."""
        host, error = found.host, found.error
        now = self._clock.now()
        if error:
            if not self._hosts.is_vouched(host, now) and self._hosts.failed(
                host, now, error, failures=found.failures
            ):
                self._events.emit(HostDown(host, error))
        elif self._hosts.vouch(host, now) if found.is_vouched else self._hosts.works(host, now):
            self._events.emit(HostUp(host))

    async def run(self) -> None:
        """Tell of hosts that count as down no more, until cancelled."""
        while True:
            await asyncio.sleep(EXPIRE_LOOK_S)
            self.expire()

    def expire(self) -> None:
        """Forget hosts nothing was heard of for long; workers do the same."""
        for host in self._hosts.expire(self._clock.now()):
            self._events.emit(HostUp(host))

    def forget(self, host: str) -> list[str]:
        """Forget that a host is down, or ("") that any is; return those that were."""
        now = self._clock.now()
        hosts = [host] if host else [one.host for one in self._hosts]
        return [one for one in hosts if self._hosts.works(one, now)]

    def relays(self, config: Config) -> list[RelayStatus]:
        """Return every relay, in the order of the configuration, then other hosts that are down."""
        down = {one.host: one for one in self.down()}
        found = []
        named = set()
        for route in config.routes.values():
            if not isinstance(route, RelayRoute):
                continue
            for relay in route.relays:
                host = f"{relay.host}:{relay.port}"
                named.add(host)
                status = RelayStatus(route.name, host, relay.weight, relay.tier, route.policy, "up")
                found.append(_with_state(status, down.get(host)))
        for host in down.keys() - named:
            found.append(_with_state(RelayStatus("", host, 0, 0, "", "up"), down[host]))
        return found

    def down(self) -> list[KnownHost]:
        """Return the hosts that are down."""
        return self._hosts.down(self._clock.now())


def _with_state(status: RelayStatus, down: KnownHost | None) -> RelayStatus:
    if down is None:
        return status
    return msgspec.structs.replace(
        status, state="down", since=down.since, probed_at=down.failed_at, error=down.error
    )
