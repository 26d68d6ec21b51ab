"""The rows of an overview of one queue, each read where its figures are kept.

Called by: engine.survey.  Raises: nothing.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from postroom.channels.policy import ChannelPolicy
from postroom.core.limits import Limit, LimitKey, format_rate
from postroom.delivery.health import hops_of, interval_of, name_of
from postroom.engine.engine import Engine
from postroom.engine.sites import Connected
from postroom.engine.tallies import Tally
from postroom.engine.views import (
    HostState,
    QueueChannel,
    QueueHost,
    QueueSite,
    QueueSource,
    QueueTenant,
    Stored,
)
from postroom.engine.why import shared_limits, why_of
from postroom.queueing.lane import Lane
from postroom.queueing.load import ChannelLoad
from postroom.queueing.tenants import TenantState
from postroom.queueing.why import LimitUse, use_of
from postroom.shaping.hosts import Hosts

if TYPE_CHECKING:
    from postroom.engine.survey import ChannelLook

HOSTS_SHOWN = 8
"""Hosts of one site; there are seldom more."""

_NO_TALLY = Tally()


class ViewRows:
    """Makes the rows of one queue."""

    def __init__(self, engine: Engine, hosts: Hosts, connected: Connected) -> None:
        self._engine = engine
        self._hosts = hosts
        self._connected = connected
        self.channels_known: Sequence[ChannelPolicy] = ()
        """Those of the configuration; the rest has mail and is gone."""
        self._now = 0.0
        self._shared: dict[LimitKey, Limit] = {}
        self._connections: Mapping[tuple[str, str, str], int] = {}

    def begin(self, now: float) -> None:
        """Look up what all rows of one answer need."""
        self._now = now
        self._shared = shared_limits(self._engine.scheduler)
        self._connections = self._connected.connections()

    def channels(
        self,
        loads: Sequence[ChannelLoad],
        looks: Mapping[str, ChannelLook],
        stored: Mapping[str, Stored],
    ) -> tuple[QueueChannel, ...]:
        """Return every channel of the configuration, then others that have mail."""
        by_name = {one.name: one for one in loads}
        names = [one.name for one in self.channels_known]
        others = {*looks, *stored} - set(names)
        policies = {one.name: one for one in self.channels_known}
        return tuple(
            self._channel(name, policies.get(name), by_name.get(name), looks.get(name),
                          stored.get(name, Stored()))
            for name in [*names, *sorted(others)]
        )  # fmt: skip

    def _channel(
        self,
        name: str,
        policy: ChannelPolicy | None,
        load: ChannelLoad | None,
        look: ChannelLook | None,
        stored: Stored,
    ) -> QueueChannel:
        scheduler = self._engine.scheduler
        state = scheduler.channel(name)
        in_flight = state.gate.busy if state is not None else 0
        ready = state.ready if state is not None else 0
        limit = min(policy.concurrency, scheduler.concurrency) if policy is not None else 0
        if load is not None:
            in_flight, ready, limit = load.in_flight, load.ready, load.limit
        uses: tuple[LimitUse, ...] = ()
        if state is not None:
            uses = (use_of(state.gate, state.policy.limit, self._now),)
            uses += tuple(use_of(gate, limit, self._now) for gate, limit in scheduler.outer())
        binds, binds_site = "", ""
        if look is not None and look.fullest is not None:
            lane = look.fullest
            binds = why_of(scheduler, lane, self._shared, self._now).binds
            binds_site = lane.key.site if binds else ""
        return QueueChannel(
            name, in_flight, ready, limit, uses,
            look.sites if look is not None else 0,
            look.oldest_due if look is not None else 0.0,
            binds, binds_site,
            self._engine.tallies.channels.get(name, _NO_TALLY).done,
            stored,
        )  # fmt: skip

    def site(self, lane: Lane) -> QueueSite:
        """Return the row of a lane."""
        key = lane.key
        tally = self._engine.tallies.sites.get((key.channel, key.site), _NO_TALLY)
        learner = self._engine.learner
        return QueueSite(
            why_of(self._engine.scheduler, lane, self._shared, self._now),
            lane.recipients,
            _oldest_due(lane),
            tally.done,
            tally.last_error,
            self._hosts_of(lane),
            learner.lessons.of(key.site, self._now) if learner.lessons else (),
        )

    def _hosts_of(self, lane: Lane) -> tuple[HostState, ...]:
        destination = self._engine.destinations.get(lane.key)
        if destination is None:
            return ()
        found = []
        for hop in hops_of(destination)[:HOSTS_SHOWN]:
            name = name_of(hop)
            known = self._hosts.known(name)
            connections = self._connections.get((lane.key.channel, lane.key.site, name), 0)
            if known is None:
                found.append(HostState(name, connections=connections))
                continue
            due_at = 0.0 if known.up_at else known.due_at(interval_of(destination.route))
            since = known.up_at or known.since
            found.append(
                HostState(name, known.state.value, since, due_at, known.error, connections)
            )
        return tuple(found)

    def hosts(self) -> tuple[QueueHost, ...]:
        """Return the relays that took or refused something here."""
        connections: Counter[str] = Counter()
        for (_, _, host), count in self._connections.items():
            connections[host] += count
        return tuple(
            QueueHost(host, tally.delivered, tally.deferred, tally.failed, connections[host])
            for host, tally in self._engine.tallies.hosts.items()
        )

    def sources(self) -> tuple[QueueSource, ...]:
        """Return the sources that were used here."""
        departures = self._engine.scheduler.departures
        return tuple(
            QueueSource(name, busy, departures.granted(name))
            for name, busy in departures.busy.items()
        )

    def tenants(self, limit: int) -> tuple[tuple[QueueTenant, ...], int]:
        """Return the tenants with the most to do, and how many there are."""
        states = [one for one in self._engine.scheduler.tenants.each() if one[0]]
        first = heapq.nsmallest(limit, states, key=_by_work)
        return tuple(_tenant(name, state) for name, state in first), len(states)


def _by_work(one: tuple[str, TenantState]) -> tuple[int, str]:
    name, state = one
    return -state.busy - sum(state.ready.values()), name


def _oldest_due(lane: Lane) -> float:
    """Return since when its oldest mail is due; 0 where none waits, or may be tried."""
    due = lane.first_due if lane.has_waiting() else 0.0
    return due if math.isfinite(due) else 0.0


def _tenant(name: str, state: TenantState) -> QueueTenant:
    rate = state.limit.rate
    return QueueTenant(
        name, state.weight, state.busy, sum(state.ready.values()), state.limit.slots,
        state.gate.granted if state.gate is not None and state.limit.slots is not None else 0,
        format_rate(rate) if rate is not None else "",
    )  # fmt: skip
