"""Departures: from which source an attempt goes, and whether it may open a connection.

Owns, for lanes whose channel has sources or a limit of new connections, the choice of a source
and what keeps a lane from departing: pauses, and the gates of sources and new connections. A
source is drawn by weight; where it turns out to be at a limit, another one is. A lane that may not
depart waits here until one of its gates opens, or a pause ends.

Lanes of other channels have nothing to do with it, and pay nothing for it.

Pure; `now` is passed in.  Guarantees: 1. an attempt never goes from a source that is paused
towards its site. 2. a lane that waits has its turn when anything it waits for has changed.
Called by: queueing.scheduler, engine.source_troubles, engine.why.  Raises: nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from postroom.core.limits import DAY_S, UNLIMITED, Limit, LimitKey
from postroom.core.units import format_duration
from postroom.queueing.lane import Lane, LaneKey
from postroom.queueing.patience import Patience
from postroom.queueing.shortage import Shortage, said_of, shortage
from postroom.queueing.way import Way
from postroom.shaping.allowance import Allowance
from postroom.shaping.gate import Gate, Gates
from postroom.shaping.needs import NOTHING, Needs, rated
from postroom.shaping.pauses import FOREVER, Pauses
from postroom.shaping.source import SourcePolicy
from postroom.shaping.tickets import Tickets

KINDS = frozenset(("source", "warmup", "connect-source", "connect-channel", "connect-site"))
"""The kinds of limits whose gates are asked here."""


class Departures:
    """Sources and new connections of one queue."""

    def __init__(self, gates: Gates, entropy: random.Random | None = None) -> None:
        self._gates = gates
        self._tickets = Tickets(entropy or random.Random(0))
        self._sources: dict[str, SourcePolicy] = {}
        self._own: dict[str, tuple[tuple[Gate, ...], tuple[Gate, ...]]] = {}
        """The gates of each source, and those of its new connections."""
        self._used: dict[LimitKey, tuple[Gate, Limit]] = {}
        self._waiting: dict[Gate, dict[Lane, None]] = {}
        self._at_time: dict[Lane, None] = {}
        """Lanes that wait for a pause to end, or for an answer of the lender."""
        self.look_at = FOREVER
        """When `resumed` is to be asked: the first pause ends, or an answer is overdue."""
        self._short: dict[Gate, dict[Lane, int]] = {}
        """How many attempts each lane could make if a gate were open."""
        self._needs: dict[Gate, Needs] = {}
        """What the attempt of a lane that waits for a gate needs as well."""
        self._patience = Patience()
        self.pauses = Pauses()
        self.busy: dict[str, int] = {}
        """Attempts in flight, by source."""

    def reconfigure(self, sources: Sequence[SourcePolicy]) -> None:
        """Put other sources in force; the lanes are to be dressed anew."""
        self._sources = {source.name: source for source in sources}
        self._own.clear()

    def dress(self, lane: Lane) -> None:
        """Give a lane its way, where its channel asks for one."""
        channel = lane.channel
        pool = tuple(self._sources[name] for name in channel.sources if name in self._sources)
        site = lane.key.site
        connects = self._limited(
            (channel.site_connect_key(site), channel.site_connect_limit),
            (channel.connect_key, channel.connect_limit),
        )
        if not pool and not connects:
            lane.way = None
            return
        way = lane.way = lane.way or Way()
        way.pool, way.connects = pool, connects

    def needs(self, lane: Lane, now: float) -> Needs:
        """Return what tokens the next attempt of a lane needs here."""
        way = lane.way
        if way is None:
            return NOTHING
        is_kept = self._may_count_on_kept(lane, way)
        along = () if is_kept else rated(way.connects)
        if not way.pool:
            return Needs(along)
        site = lane.key.site
        left = []
        for one in way.pool:
            if (ready_at := self._ready_at(one, site, now)) <= now:
                left.append(one)
            else:
                # It will do as well by then, and what is asked for now does not name it.
                self._look_at(lane, ready_at)
        # The one that is drawn, then those that have a connection free.
        left.sort(key=lambda one: (one is not way.drawn, not self._has_slot(one, site, now)))
        way.is_asked_for = True
        return Needs(along, (tuple(self._rates(one, site, is_kept, now) for one in left),))

    def allowance(
        self, lane: Lane, now: float, needs: Callable[[], Needs] = lambda: NOTHING
    ) -> Allowance | None:
        """Return what the next attempt of a lane may use; None where it must wait.

        `needs`: what tokens it needs beside those of source and connection.
        """
        way = lane.way
        assert way is not None
        is_kept = self._may_count_on_kept(lane, way)
        blocking = [] if is_kept else _without_token(way.connects, now)
        source: SourcePolicy | None = None
        gates: tuple[Gate, ...] = ()
        connects = way.connects
        if blocking:
            self._want(lane, blocking, needs() + self.needs(lane, now))
        elif way.pool:
            source, blocking = self._choose(lane, way, needs, now)
        if blocking or (way.pool and source is None):
            self._wait(lane, way, blocking, now)
            return None
        if source is not None:
            gates, own_connects = self._gates_of(source, lane.key.site, now)
            connects += own_connects
        way.is_asked_for = False
        allowance = Allowance(source, gates, connects)
        if is_kept:
            allowance.count_on(way.expected)
        elif connects:
            took = allowance.reserve(now)
            assert took, "each gate had a token"
        for gate in gates:
            gate.start()
        if source is not None:
            self.busy[source.name] = self.busy.get(source.name, 0) + 1
        return allowance

    def finish(self, lane: Lane, allowance: Allowance, started_at: float, *, reached: bool) -> None:
        """End what an attempt was allowed."""
        allowance.end()
        if allowance.source is not None:
            self.busy[allowance.source_name] -= 1
        for gate in allowance.gates:
            gate.finish()
            if gate.has_rate and not reached:
                gate.refund(started_at)
        if lane.way is not None:
            lane.way.must_connect = allowance.is_refused

    def may_depart(self, key: LaneKey, pool: Iterable[str], now: float) -> bool:
        """Say whether a source of a pool is not paused towards a site."""
        return any(
            name in self._sources and self._ready_at(self._sources[name], key.site, now) <= now
            for name in pool
        )

    def shortages(self) -> list[Shortage]:
        """Return what gates kept from starting since this was asked last."""
        short, self._short = self._short, {}
        needs, self._needs = self._needs, {}
        found = []
        for gate, lanes in short.items():
            could = sum(lanes.values())
            slots = 0 if gate.key.is_of_connections else gate.busy + could
            found.append(shortage(gate, slots, could, needs[gate], len(lanes)))
        return found

    def opened(self, gate: Gate) -> list[Lane]:
        """Return the lanes that waited for a gate."""
        self._patience.opened(gate)
        return list(self._waiting.pop(gate, ()))

    def freed(self, gates: Iterable[Gate], now: float | None = None) -> list[Lane]:
        """Return, for each gate that lets an attempt through, who waited longest for it.

        Without `now`: for each that has a slot; whoever lacks a token then asks for one. Lanes
        that have nothing to start, or a turn already, are passed over: they would not use it.
        """
        lanes = []
        for gate in gates:
            waiting = self._waiting.get(gate)
            while waiting and (gate.busy < gate.usable if now is None else gate.is_open(now)):
                lane = next(iter(waiting))
                del waiting[lane]
                if any(rank not in lane.listed for rank in lane.ranks()):
                    lanes.append(lane)
                    break
        return lanes

    def not_taken(self, lane: Lane, now: float) -> list[Lane]:
        """Return who may use the sources of a lane in its place: it had its turn in vain."""
        if lane.way is None or not self._waiting:
            return []
        own = (gate for one in lane.way.pool for gate in self._gates_of(one, lane.key.site, now)[0])
        return self.freed(own, now)

    def resumed(self, now: float, *, is_changed: bool = False) -> list[Lane]:
        """Return the lanes to look at again: it is time, or pauses have changed."""
        if not self._at_time or (now < self.look_at and not is_changed):
            return []
        lanes, self._at_time, self.look_at = list(self._at_time), {}, FOREVER
        return lanes

    def prune(self, lanes: Iterable[Lane]) -> None:
        """Let go of what no lane uses any more; `lanes` are those that there are."""
        if not self._used:
            return
        used: set[LimitKey] = set()
        for lane in lanes:
            if lane.way is not None:
                used.update(gate.key for gate in lane.way.connects)
                for source in lane.way.pool:
                    used.update((source.key, source.connect_key))
                    used.add(source.warmup_key(lane.key.site))
        for key in [key for key, (gate, _) in self._used.items() if key not in used]:
            if not self._used[key][0].busy:
                gate, _ = self._used.pop(key)
                self._own.pop(key.name, None)
                self._patience.forget(gate)
                self._waiting.pop(gate, None)
                self._gates.forget(gate)

    def granted(self, name: str) -> int:
        """Return what this queue has of the limit of a source; 0 where it has none."""
        source = self._sources.get(name)
        known = self._used.get(source.key) if source is not None else None
        return known[0].granted if known is not None and known[1].slots is not None else 0

    def limits_of(self, lane: Lane, now: float) -> list[tuple[Gate, Limit]]:
        """Return the limits that a lane is under here, to be shown."""
        if lane.way is None:
            return []
        gates = list(lane.way.connects)
        for source in lane.way.pool:
            own, connects = self._gates_of(source, lane.key.site, now)
            gates += [*own, *connects]
        return [self._used[gate.key] for gate in gates]

    def why_not(self, lane: Lane, now: float) -> str:
        """Say what keeps the next attempt of a lane from departing; "" where nothing does."""
        way = lane.way
        if way is None:
            return ""
        if not self._may_count_on_kept(lane, way):
            for gate in _without_token(way.connects, now):
                return said_of(gate, self._used[gate.key][1], now)
        reasons = []
        for source in way.pool:
            pause = self.pauses.of(source.name, lane.key.site, now)
            closed = self._closed(lane, way, source, now)
            if pause is None and not closed:
                return ""
            if pause is not None:
                left = f", for {format_duration(pause.until - now)}" if pause.until else ""
                reasons.append(f"{pause}{left}")
            elif source.plan is not None and source.plan.number(now) < 1:
                reasons.append(f"the warm-up of source {source.name} has not begun")
            else:
                reasons.append(said_of(closed[0], self._used[closed[0].key][1], now))
        return "; ".join(reasons)

    # Inside.

    @staticmethod
    def _may_count_on_kept(lane: Lane, way: Way) -> bool:
        return lane.gate.kept > way.expected.number and not way.must_connect

    def _closed(self, lane: Lane, way: Way, source: SourcePolicy, now: float) -> list[Gate]:
        """Return the gates of a source that keep a lane from using it now."""
        own, connects = self._gates_of(source, lane.key.site, now)
        closed = [gate for gate in own if not gate.is_open(now)]
        return (
            closed
            if self._may_count_on_kept(lane, way)
            else (closed + _without_token(connects, now))
        )

    def _choose(
        self, lane: Lane, way: Way, needs: Callable[[], Needs], now: float
    ) -> tuple[SourcePolicy | None, list[Gate]]:
        """Return the source whose turn it is, or the gates to wait for."""
        left = [one for one in way.pool if self._ready_at(one, lane.key.site, now) <= now]
        blocking: list[Gate] = []
        drawn, way.drawn = way.drawn, None
        while left:
            source = drawn if drawn in left else self._draw(left)
            closed = self._closed(lane, way, source, now)
            if not closed:
                return source, []
            if way.is_asked_for and (lent := self._lent(lane, way, left, now)) is not None:
                return lent, []
            is_kept = self._may_count_on_kept(lane, way)
            along = self._rates(source, lane.key.site, is_kept, now)
            along += () if is_kept else rated(way.connects)
            self._want(lane, closed, needs() + Needs(along))
            waiting = [gate for gate in closed if not self._patience.is_over(gate, now)]
            if waiting:
                way.drawn = source
                self._look_at(lane, min(self._patience.ends_at(gate) for gate in waiting))
                return None, closed
            left.remove(source)
            blocking += closed
        return None, blocking

    def _lent(
        self, lane: Lane, way: Way, sources: Iterable[SourcePolicy], now: float
    ) -> SourcePolicy | None:
        """Return a source whose tokens came along with others that were asked for, if any."""
        for source in sources:
            own, connects = self._gates_of(source, lane.key.site, now)
            if rated(own + connects) and not self._closed(lane, way, source, now):
                return source
        return None

    def _rates(
        self, source: SourcePolicy, site: str, is_kept: bool, now: float
    ) -> tuple[LimitKey, ...]:
        own, connects = self._gates_of(source, site, now)
        return rated(own if is_kept else own + connects)

    def _has_slot(self, source: SourcePolicy, site: str, now: float) -> bool:
        return all(gate.busy < gate.usable for gate in self._gates_of(source, site, now)[0])

    def _draw(self, sources: Sequence[SourcePolicy]) -> SourcePolicy:
        """Draw a source by weight."""
        if len(sources) == 1:
            return sources[0]
        ticket = self._tickets.next() * sum(source.weight for source in sources)
        for source in sources:
            ticket -= source.weight
            if ticket < 0:
                return source
        return sources[-1]

    def _gates_of(
        self, source: SourcePolicy, site: str, now: float
    ) -> tuple[tuple[Gate, ...], tuple[Gate, ...]]:
        """Return the gates of a source, and those of its new connections."""
        known = self._own.get(source.name)
        if known is None:
            known = self._own[source.name] = (
                self._limited((source.key, source.limit)),
                self._limited((source.connect_key, source.connect_limit)),
            )
        own, connects = known
        if source.plan is not None and source.plan.today(now) is not None:
            own += (self._gate(source.warmup_key(site), source.warmup_limit),)
        return own, connects

    def _limited(self, *limits: tuple[LimitKey, Limit]) -> tuple[Gate, ...]:
        """Return the gates of those that are limits."""
        return tuple(self._gate(key, limit) for key, limit in limits if limit != UNLIMITED)

    def _gate(self, key: LimitKey, limit: Limit) -> Gate:
        known = self._used.get(key)
        if known is None:
            known = self._used[key] = (self._gates.gate(key, limit), limit)
        elif known[1] != limit:
            self._gates.change(known[0], limit)
            self._used[key] = (known[0], limit)
        return known[0]

    def _wait(self, lane: Lane, way: Way, blocking: list[Gate], now: float) -> None:
        for gate in blocking:
            self._waiting.setdefault(gate, {})[lane] = None
        for source in way.pool:
            ready_at = self._ready_at(source, lane.key.site, now)
            if ready_at > now:
                self._look_at(lane, ready_at)

    def _ready_at(self, source: SourcePolicy, site: str, now: float) -> float:
        """Return when a source may be used towards a site, as far as that is known."""
        pause = self.pauses.of(source.name, site, now)
        ready_at = pause.ends_at if pause is not None else 0.0
        return ready_at if source.plan is None else max(ready_at, source.plan.start_day * DAY_S)

    def _want(self, lane: Lane, gates: Iterable[Gate], needs: Needs) -> None:
        """Have what a lane could use asked for, along with what it needs besides."""
        could = max(1, min(len(lane) + 1, lane.window - lane.busy))
        for gate in gates:
            self._short.setdefault(gate, {})[lane] = could
            self._needs[gate] = needs

    def _look_at(self, lane: Lane, at: float) -> None:
        """Give a lane its turn at a moment, where nothing else does before."""
        self._at_time[lane] = None
        self.look_at = min(self.look_at, at)


def _without_token(gates: Iterable[Gate], now: float) -> list[Gate]:
    return [gate for gate in gates if gate.has_rate and not gate.has_token(now)]
