"""Which mail is tried next.

Owns the lanes of one queue and the counts of attempts in flight: of the queue, of each
channel, of each site. Lanes that may start something stand in a ring and get one attempt
each in turn, so that a site with a million messages takes no more turns than one with a
single message. A lane whose channel is full waits at the channel and is the next there.
Mail of a lower rank has turns of its own (queueing.rings).

Pure: the caller passes `now`; `tick` returns the entries to start.

Guarantees: 1. in flight never exceeds the limit of the queue, of a channel or of a site at
the moment of a start (V5). 2. every lane that may start is served within one round.
3. an entry that was added is started, or returned by `rest` or `forget`, exactly once.
Called by: engine.pump.  Raises: nothing; misuse is an AssertionError.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from postroom.channels.policy import ChannelPolicy
from postroom.queueing.lane import Entry, Lane, LaneKey, Rest
from postroom.queueing.load import ChannelLoad
from postroom.queueing.rings import Rings, limit_of


class ChannelState:
    """Attempts in flight of one channel, those that are ready, the lanes that wait for it."""

    __slots__ = ("busy", "policy", "ready", "waiting")

    def __init__(self, policy: ChannelPolicy) -> None:
        self.policy = policy
        self.busy = 0
        self.ready = 0
        self.waiting: dict[int, deque[Lane]] = {}
        """By rank."""


class Scheduler:
    """Lanes, limits and turns of one queue."""

    def __init__(self, concurrency: int, shares: tuple[float, ...] = (1.0,)) -> None:
        """`shares`: what each rank is sure of, of all attempts; one rank where there is one."""
        self._concurrency = concurrency
        self._busy = 0
        self._lanes: dict[LaneKey, Lane] = {}
        self._channels: dict[str, ChannelState] = {}
        self._rings = Rings(shares)

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
        return state.busy if state else 0

    def loads(self) -> list[ChannelLoad]:
        """Return what each channel is doing that has something to do, and is not held."""
        return [
            ChannelLoad(
                name, state.busy, state.ready, min(state.policy.concurrency, self._concurrency)
            )
            for name, state in self._channels.items()
            if (state.busy or state.ready) and state.policy.concurrency and self._concurrency
        ]

    def oldest_due(self) -> float | None:
        """Return since when the attempt is due that has waited longest for its turn, if any.

        What an operator holds does not wait for its turn.
        """
        return min(
            (
                lane.first_due
                for lane in self._lanes.values()
                if lane.has_waiting() and not self.is_held(lane.key.channel)
            ),
            default=None,
        )

    def is_held(self, channel: str) -> bool:
        """True where a channel that had mail may have no attempts at all."""
        state = self._channels.get(channel)
        return state is not None and not state.policy.concurrency

    def add(self, entry: Entry, channel: ChannelPolicy) -> Lane:
        """Queue an entry in its lane."""
        lane = self._lanes.get(entry.lane)
        if lane is None:
            lane = self._lanes[entry.lane] = Lane(entry.lane, channel)
            if channel.name not in self._channels:
                self._channels[channel.name] = ChannelState(channel)
        entry.rank = min(entry.rank, self._rings.lowest)
        lane.push(entry)
        self._channels[entry.lane.channel].ready += 1
        self._list(lane, entry.rank)
        return lane

    def tick(self, now: float) -> list[Entry]:
        """Return the entries to start now, each counted as in flight until `finish`."""
        started: list[Entry] = []
        rings = self._rings
        while (turn := rings.next(self._busy, self._concurrency)) is not None:
            lane, rank = turn
            if not lane.can_start(now, rank):
                # Listed again by add, by finish, or by wake when its rest ends.
                self._unlist(lane, rank)
                continue
            state = self._channels[lane.key.channel]
            if state.busy >= limit_of(state.policy.concurrency, rank):
                state.waiting.setdefault(rank, deque()).append(lane)
                continue
            entry = lane.pop(rank)
            if entry is None:
                self._unlist(lane, rank)
                continue
            rings.started(rank)
            entry.started = True
            lane.busy += 1
            state.busy += 1
            state.ready -= 1
            self._busy += 1
            started.append(entry)
            rings.append(lane, rank)
        return started

    def finish(self, entry: Entry, *, reached: bool) -> bool:
        """End an attempt; `reached` tells that the site could be used.

        True where a rest of the site ended with it.
        """
        lane = self._lanes[entry.lane]
        state = self._channels[entry.lane.channel]
        assert entry.started and lane.busy > 0 and state.busy > 0
        entry.started = False
        lane.busy -= 1
        lane.recipients -= len(entry.indexes)
        state.busy -= 1
        self._busy -= 1
        ended = lane.reached() if reached else False
        self._admit_waiting(state)
        self._list_all(lane)
        return ended

    def rest(self, key: LaneKey, now: float, base_s: float, reply: str) -> tuple[Rest, list[Entry]]:
        """Let a lane rest and return what waited in it, for the caller to defer."""
        lane = self._lanes[key]
        rest = lane.unreachable(now, base_s, reply)
        drained = lane.drain()
        self._channels[key.channel].ready -= len(drained)
        return rest, drained

    def resting(self, key: LaneKey, now: float) -> Rest | None:
        """Return the rest a lane is in at `now`, if any: then do not add to it."""
        lane = self._lanes.get(key)
        return lane.resting(now) if lane is not None else None

    def cancel(self, entry: Entry) -> bool:
        """Take back an entry that has not started; False where it is in flight."""
        if entry.started:
            return False
        if not entry.cancelled:
            entry.cancelled = True
            self._lanes[entry.lane].recipients -= len(entry.indexes)
            self._channels[entry.lane.channel].ready -= 1
        return True

    def reconfigure(self, channels: Iterable[ChannelPolicy]) -> None:
        """Put new limits in force at once; lanes of channels that are gone keep theirs."""
        for policy in channels:
            state = self._channels.get(policy.name)
            if state is not None:
                state.policy = policy
                for rank, waiting in state.waiting.items():
                    while waiting:
                        self._rings.append(waiting.popleft(), rank)
        for lane in self._lanes.values():
            lane.channel = self._channels[lane.key.channel].policy
            self._list_all(lane)

    def set_shares(self, shares: tuple[float, ...]) -> None:
        """Put other ranks in force; mail that waits keeps its rank, the last one at most."""
        self._rings.reconfigure(shares)
        for state in self._channels.values():
            state.waiting.clear()
        for lane in self._lanes.values():
            lane.listed.clear()
            lane.clip(self._rings.lowest)
            self._list_all(lane)

    def prune(self, now: float) -> None:
        """Forget lanes nothing is known of any more, so that memory stays bounded."""
        idle = [lane for lane in self._lanes.values() if not lane.listed and lane.is_idle(now)]
        for lane in idle:
            del self._lanes[lane.key]

    def _unlist(self, lane: Lane, rank: int) -> None:
        lane.listed.discard(rank)
        # The turn it did not use goes to a lane that waits for the same channel.
        self._admit_waiting(self._channels[lane.key.channel])

    def _admit_waiting(self, state: ChannelState) -> None:
        for rank in sorted(state.waiting):
            waiting = state.waiting[rank]
            if waiting and state.busy < limit_of(state.policy.concurrency, rank):
                # The lane that waited longest goes first: the channel's lanes take turns.
                self._rings.appendleft(waiting.popleft(), rank)
                return

    def _list(self, lane: Lane, rank: int) -> None:
        if rank not in lane.listed:
            lane.listed.add(rank)
            self._rings.append(lane, rank)

    def _list_all(self, lane: Lane) -> None:
        for rank in lane.ranks():
            self._list(lane, rank)
