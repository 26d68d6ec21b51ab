"""What workers found out about hosts, passed on to all of them.

Owns what the master knows of hosts that are down, for listings and for workers that start.

Called by: supervisor.fleet, supervisor.master_commands.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.clock import Clock
from postroom.observe.events import EventSink, HostDown, HostUp
from postroom.shaping.hosts import DownHost, Hosts


class HostHealth:
    """The hosts that are down, as all workers know them together."""

    def __init__(self, clock: Clock, events: EventSink) -> None:
        self._clock = clock
        self._events = events
        self._hosts = Hosts()

    def found(self, host: str, error: str) -> None:
        """Take what a worker found out; a change is told once, whoever finds it out as well."""
        if error:
            if self._hosts.failed(host, self._clock.now(), error):
                self._events.emit(HostDown(host, error))
        elif self._hosts.works(host):
            self._events.emit(HostUp(host))

    def down(self) -> list[DownHost]:
        """Return the hosts that are down."""
        now = self._clock.now()
        return [one for one in list(self._hosts) if self._hosts.is_down(one.host, now)]
