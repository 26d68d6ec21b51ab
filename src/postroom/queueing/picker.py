"""The picker: which entry of a lane goes next, as its tenant and its source let it.

Also knows what tokens the next attempt of a lane needs in all, so that what keeps it is asked for
along with the rest.

Pure.  Called by: queueing.scheduler.  Raises: nothing.
"""

from __future__ import annotations

from postroom.queueing.departures import Departures
from postroom.queueing.lane import Entry, Lane
from postroom.queueing.tenants import Tenants
from postroom.shaping.needs import Choice, Needs, rated


class Picker:
    """Takes entries out of lanes."""

    __slots__ = ("_departures", "_tenants")

    def __init__(self, tenants: Tenants, departures: Departures) -> None:
        self._tenants = tenants
        self._departures = departures

    def take(self, lane: Lane, rank: int, now: float) -> Entry | None:
        """Take out the entry whose turn it is; None where its tenant or source keeps it."""
        entry, tenants = lane.pop(rank, now), self._tenants
        if tenants.has_lacking:
            tenants.need(self._beside_tenant(lane, now))
        if entry is None:
            tenants.wait(lane, rank, now)
            return None
        if lane.way is not None:
            tenant = entry.tenant
            entry.allowance = self._departures.allowance(
                lane, now, lambda: self._beside_source(lane, rank, tenant)
            )
            if entry.allowance is None:
                lane.unpop(entry)
                return None
        return entry

    def needs(self, lane: Lane, rank: int, now: float) -> Needs:
        """Return what tokens the next attempt of a lane needs in all."""
        return self._beside_tenant(lane, now) + Needs(choices=self._of_tenants(lane, rank))

    def _beside_tenant(self, lane: Lane, now: float) -> Needs:
        return Needs(rated(lane.gates)) + self._departures.needs(lane, now)

    def _beside_source(self, lane: Lane, rank: int, tenant: str) -> Needs:
        return Needs(rated(lane.gates), self._of_tenants(lane, rank, tenant))

    def _of_tenants(self, lane: Lane, rank: int, first: str | None = None) -> tuple[Choice, ...]:
        """Return whose tokens will do, in the order of their turns."""
        names = lane.tenants(rank)
        if first is not None:
            names = [first, *(name for name in names if name != first)]
        states = [self._tenants.state(name) for name in names]
        choice = tuple(rated(state.gates) for state in states if state.has_slot)
        return (choice,) if any(choice) else ()
