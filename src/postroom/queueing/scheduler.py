"""Which mail is tried next.

Owns the lanes of one queue and the count of its attempts in flight. What is in flight of the
server, the group, each channel and each site is counted at their gates (shaping.gate), which
may be shared with other queues. Lanes that may start something stand in a ring and get one
attempt each in turn, so that a site with a million messages takes no more turns than one with
a single message. A lane whose channel is full waits at the channel and is the next there.
Mail of a lower rank has turns of its own (queueing.rings).

Pure: the caller passes `now`; `tick` returns the entries to start, `shortages` which gates
kept others from starting.

Guarantees: 1. in flight never exceeds the limit of the queue, nor what is granted of that of
the server, the group, a channel or a site, at the moment of a start (V5). 2. every lane that
may start is served within one round. 3. an entry that was added is started, or returned by
`rest` or `forget`, exactly once.
Called by: engine.pump.  Raises: nothing; misuse is an AssertionError.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from postroom.channels.policy import ChannelPolicy
from postroom.core.limits import Limit, LimitKey
from postroom.queueing.channel_state import ChannelState
from postroom.queueing.departures import KINDS, Departures
from postroom.queueing.lane import Entry, Lane, LaneKey, Rest
from postroom.queueing.load import ChannelLoad, first_due, loads_of
from postroom.queueing.outer import OuterLimits
from postroom.queueing.picker import Picker
from postroom.queueing.rings import Rings, limit_of
from postroom.queueing.shortage import Shortage
from postroom.queueing.shortages import all_of
from postroom.queueing.tenants import Tenants
from postroom.shaping.allowance import Allowance
from postroom.shaping.gate import Gate, Gates, OwnGates
from postroom.shaping.needs import Needs


class Scheduler:
    """Lanes, limits and turns of one queue."""

    def __init__(
        self,
        concurrency: int,
        shares: tuple[float, ...] = (1.0,),
        gates: Gates | None = None,
        outer: Sequence[tuple[LimitKey, Limit]] = (),
        entropy: random.Random | None = None,
    ) -> None:
        """`shares`: what each rank is sure of, of all attempts; one rank where there is one.

        `gates` is where gates come from; none given: nothing is shared with other queues.
        `outer` are the limits that all attempts are under, beside that of the queue. `entropy`
        is where the drawing of sources begins.
        """
        self._concurrency = concurrency
        self._busy = 0
        self._ready = 0
        self._could = 0
        """Attempts that had tokens of site and channel where an outer limit let none through."""
        self._gates: Gates = gates if gates is not None else OwnGates()
        self._outer = OuterLimits(self._gates)
        self.departures = Departures(self._gates, entropy)
        """Sources and new connections; to be asked, and told of pauses."""
        self._short: dict[Gate, Lane | ChannelState | None] = {}
        self._needs: dict[Gate, Needs] = {}
        self._lanes: dict[LaneKey, Lane] = {}
        self._channels: dict[str, ChannelState] = {}
        self._rings = Rings(shares)
        self.tenants = Tenants(self._gates)
        """Whose mail takes turns, and their limits."""
        self._picker = Picker(self.tenants, self.departures)
        self._set_outer(outer)

    @property
    def busy(self) -> int:
        """Attempts in flight."""
        return self._busy

    @property
    def concurrency(self) -> int:
        """How many attempts may be in flight in all."""
        return self._concurrency

    @concurrency.setter
    def concurrency(self, value: int) -> None:
        """Put another limit in force for the next start."""
        self._concurrency = value

    def lane(self, key: LaneKey) -> Lane | None:
        """Return a lane, where there is one."""
        return self._lanes.get(key)

    def lanes(self) -> Iterable[Lane]:
        """Return all lanes, in no order."""
        return self._lanes.values()

    def channel_busy(self, name: str) -> int:
        """Return the attempts in flight of a channel."""
        state = self._channels.get(name)
        return state.gate.busy if state else 0

    def channel(self, name: str) -> ChannelState | None:
        """Return a channel that has, or had, mail."""
        return self._channels.get(name)

    def gates_of(
        self, lane: LaneKey, allowance: Allowance | None = None, tenant: str = ""
    ) -> tuple[Gate, ...]:
        """Return the gates that an attempt of a lane is counted at, of source and tenant too."""
        gates = self._lanes[lane].gates
        if tenant:
            gates += self.tenants.gates(tenant)
        return gates if allowance is None else gates + allowance.gates

    def outer(self) -> Iterable[tuple[Gate, Limit]]:
        """Return the limits that all attempts are under."""
        return self._outer.pairs()

    def loads(self) -> list[ChannelLoad]:
        """Return what each channel is doing that has something to do, and is not held."""
        return loads_of(self._channels.values(), self._concurrency, self.tenants.held)

    def oldest_due(self) -> float | None:
        """Return since when the attempt is due that has waited longest for its turn, if any.

        What an operator holds does not wait for its turn.
        """
        return first_due(self._lanes.values(), self.is_held)

    def is_held(self, channel: str) -> bool:
        """True where a channel that had mail may have no attempts at all."""
        state = self._channels.get(channel)
        return state is not None and not state.policy.concurrency

    def add(self, entry: Entry, channel: ChannelPolicy) -> Lane:
        """Queue an entry in its lane."""
        lane = self._lanes.get(entry.lane)
        if lane is None:
            gate = self._gates.gate(channel.site_key(entry.lane.site), channel.site_limit)
            lane = self._lanes[entry.lane] = Lane(entry.lane, channel, gate, self.tenants)
            if channel.name not in self._channels:
                gate = self._gates.gate(channel.key, channel.limit)
                self._channels[channel.name] = ChannelState(channel, gate)
            lane.gates = (lane.gate, self._channels[channel.name].gate, *self._outer.gates)
            self.departures.dress(lane)
        entry.rank = min(entry.rank, self._rings.lowest)
        lane.push(entry)
        if entry.tenant:
            self.tenants.state(entry.tenant).count(entry.lane.channel, 1)
        self._channels[entry.lane.channel].ready += 1
        self._ready += 1
        self._list(lane, entry.rank)
        return lane

    def tick(self, now: float) -> list[Entry]:
        """Return the entries to start now, each counted as in flight until `finish`."""
        started: list[Entry] = []
        rings, outer = self._rings, self._outer
        has_outer = bool(outer.gates)
        tenants = self.tenants
        tenants.wake(rings, now)
        while (turn := self._next(now)) is not None:
            lane, rank = turn
            if not lane.can_start(now, rank):
                # Listed again by add, by finish, or by wake when its rest ends.
                self._unlist(lane, rank, now)
                continue
            state = self._channels[lane.key.channel]
            gate = lane.gate
            if gate.busy >= gate.usable or (gate.has_rate and not gate.has_token(now)):
                # Both at once; but what one cannot use while it waits for the other would wander.
                if state.gate.is_awaited and lane.has_waiting():
                    state.wait(lane, rank)
                    continue
                if not gate.is_awaited and not state.gate.is_open(now):
                    self._short[state.gate] = state
                # Listed again by finish, or when the gate opens.
                self._short[gate] = lane
                if gate.has_rate:
                    self._needs[gate] = self._picker.needs(lane, rank, now)
                self._unlist(lane, rank, now)
                continue
            gate = state.gate
            if gate.busy >= limit_of(gate.usable, rank) or (
                gate.has_rate and not gate.has_token(now)
            ):
                if not lane.has_waiting():
                    # All was cancelled: nothing is ready that would have the gate opened, and
                    # what is added later must not find the lane waiting for that.
                    self._unlist(lane, rank, now)
                    continue
                self._short[gate] = state
                state.wait(lane, rank)
                continue
            if has_outer and (closed := outer.closed(now)) is not None:
                self._short[closed] = None
                self._could = min((g.tokens for g in lane.gates[:2] if g.has_rate), default=0)
                rings.appendleft(lane, rank)
                break
            entry = self._picker.take(lane, rank, now)
            if entry is None:
                # Listed again by finish, or when tenant or source let it depart.
                self._unlist(lane, rank, now)
                continue
            rings.started(rank)
            entry.started = True
            entry.started_at = now
            lane.busy += 1
            for gate in lane.gates:
                gate.start()
            if entry.tenant:
                tenants.state(entry.tenant).start(entry.lane.channel)
            state.ready -= 1
            self._ready -= 1
            self._busy += 1
            started.append(entry)
            rings.append(lane, rank)
        return started

    def shortages(self) -> list[Shortage]:
        """Return what gates kept from starting since this was asked last."""
        short, self._short = self._short, {}
        needs, self._needs = self._needs, {}
        found = all_of(short, needs, self._outer.gates, self._ready, self._could)
        return found + self.tenants.short() + self.departures.shortages()

    def opened(self, gate: Gate) -> None:
        """Let the lanes that wait for a gate have their turns."""
        key = gate.key
        if key.kind in KINDS:
            self.look_again(self.departures.opened(gate))
        elif key.kind == "site":
            lane = self._lanes.get(LaneKey(key.name, key.site))
            if lane is not None:
                self._list_all(lane)
        elif key.kind == "channel":
            state = self._channels.get(key.name)
            if state is not None:
                state.admit_all(self._rings)

    def look_again(self, lanes: Iterable[Lane]) -> None:
        """Let lanes have their turns that waited for a source or a connection."""
        for lane in lanes:
            self._list_all(lane)

    def finish(self, entry: Entry, *, reached: bool, refused: bool = False) -> bool:
        """End an attempt; `reached`: the site could be used; `refused`: it was one too many.

        True where a rest of the site ended with it.
        """
        lane = self._lanes[entry.lane]
        state = self._channels[entry.lane.channel]
        assert entry.started and lane.busy > 0
        entry.started = False
        lane.busy -= 1
        lane.left(entry)
        if entry.tenant:
            self.tenants.state(entry.tenant).finish(entry.started_at, reached=reached)
        # What never reached the site used up nothing of a rate.
        for gate in lane.gates:
            gate.finish()
            if gate.has_rate and not reached:
                gate.refund(entry.started_at)
        if entry.allowance is not None:
            self.departures.finish(lane, entry.allowance, entry.started_at, reached=reached)
            self.look_again(self.departures.freed(entry.allowance.gates))
            entry.allowance = None
        self._busy -= 1
        ended = lane.reached(entry.started_at) if reached else False
        if refused:
            lane.refused()
        state.admit_one(self._rings)
        self._list_all(lane)
        return ended

    def rest(
        self, key: LaneKey, now: float, base_s: float, reply: str,
        *, untried: bool = False, until: float = 0.0,
    ) -> tuple[Rest, list[Entry]]:  # fmt: skip
        """Let a lane rest and return what waited in it, for the caller to defer.

        `untried`: its hosts were not even asked, so that nothing new is known. `until` is when
        one of them is to be probed, where that is known.
        """
        lane = self._lanes[key]
        rest = lane.unreachable(now, base_s, reply, untried=untried, until=until)
        return rest, self.drain(lane)

    def resting(self, key: LaneKey, now: float) -> Rest | None:
        """Return the rest a lane is in at `now`, if any: then do not add to it."""
        lane = self._lanes.get(key)
        return lane.resting(now) if lane is not None else None

    def wake(self, key: LaneKey, *, by_rule: bool = False) -> bool:
        """End the rest of a lane, that of a rule or (not `by_rule`) another; False without one."""
        lane = self._lanes.get(key)
        if lane is None or lane.rest is None or bool(lane.rest.rule) is not by_rule:
            return False
        lane.rest = None
        self._list_all(lane)
        return True

    def cancel(self, entry: Entry) -> bool:
        """Take back an entry that has not started; False where it is in flight."""
        if entry.started:
            return False
        if not entry.cancelled:
            entry.cancelled = True
            self._lanes[entry.lane].left(entry)
            self._forget_ready(entry)
        return True

    def reconfigure(
        self, channels: Iterable[ChannelPolicy], outer: Sequence[tuple[LimitKey, Limit]] = ()
    ) -> None:
        """Put new limits in force at once; lanes of channels that are gone keep theirs.

        What waits in those is for `suspensions.drain_others` to take out.
        """
        self._set_outer(outer)
        for policy in channels:
            state = self._channels.get(policy.name)
            if state is not None:
                state.policy = policy
                self._gates.change(state.gate, policy.limit)
                state.admit_all(self._rings)
        for lane in self._lanes.values():
            lane.channel = self._channels[lane.key.channel].policy
            self._gates.change(lane.gate, lane.channel.site_limit)
            self.departures.dress(lane)
            self._list_all(lane)

    def set_shares(self, shares: tuple[float, ...]) -> None:
        """Put other ranks in force; mail that waits keeps its rank, the last one at most."""
        self._rings.reconfigure(shares)
        for state in self._channels.values():
            state.waiting.clear()
        self.tenants.forget_waiting()
        for lane in self._lanes.values():
            lane.listed.clear()
            lane.clip(self._rings.lowest)
            self._list_all(lane)

    def prune(self, now: float) -> None:
        """Forget lanes nothing is known of any more, so that memory stays bounded."""
        idle = [lane for lane in self._lanes.values() if not lane.listed and lane.is_idle(now)]
        for lane in idle:
            del self._lanes[lane.key]
            self._gates.forget(lane.gate)
        self.departures.prune(self._lanes.values())
        self.tenants.prune()

    def drain(self, lane: Lane) -> list[Entry]:
        """Take out all that waits in a lane, and return it."""
        entries = lane.drain()
        for entry in entries:
            self._forget_ready(entry)
        return entries

    def _forget_ready(self, entry: Entry) -> None:
        self._channels[entry.lane.channel].ready -= 1
        self._ready -= 1
        if entry.tenant:
            self.tenants.state(entry.tenant).count(entry.lane.channel, -1)

    def _next(self, now: float) -> tuple[Lane, int] | None:
        """Take out the lane whose turn it is; where none is listed, one that waits for a tenant."""
        rings = self._rings
        turn = rings.next(self._busy, self._concurrency)
        while turn is None and self._busy < self._concurrency and self.tenants.wake(rings, now):
            turn = rings.next(self._busy, self._concurrency)
        return turn

    def _unlist(self, lane: Lane, rank: int, now: float) -> None:
        lane.listed.discard(rank)
        # The turn it did not use goes to a lane that waits for the same channel.
        self._channels[lane.key.channel].admit_one(self._rings)
        # Likewise to one that waits for the same sources.
        self.look_again(self.departures.not_taken(lane, now))

    def _list(self, lane: Lane, rank: int) -> None:
        if rank not in lane.listed:
            lane.listed.add(rank)
            self._rings.append(lane, rank)

    def _list_all(self, lane: Lane) -> None:
        for rank in lane.ranks():
            self._list(lane, rank)

    def _set_outer(self, limits: Sequence[tuple[LimitKey, Limit]]) -> None:
        """Put the limits in force that all attempts are under."""
        self._outer.reconfigure(limits, self._busy)
        for lane in self._lanes.values():
            gates = self._outer.gates
            lane.gates = (lane.gate, self._channels[lane.key.channel].gate, *gates)
