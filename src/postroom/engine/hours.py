"""The hours of channels: mail whose channel may not be tried now waits in the store.

Owns what is known of each channel that has a window: whether it is open, and when that changes.
Channels without one never come here. Mail outside hours takes no memory and counts no attempt;
in the engine's backlog it belongs to one lane of its channel that has no site (`waiting_lane`).

Guarantees: 1. `opens_at` is right at the moment of the question, whatever the clock did.
2. whoever owns the lanes is told of every opening and closing.
Called by: engine.admission, engine.engine, engine.why.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from postroom.channels.policy import ChannelPolicy
from postroom.channels.window import change_after, is_open
from postroom.core.clock import Clock
from postroom.queueing.lane import LaneKey

LOOK_S = 60.0
"""How often the clock is looked at, for it may be set anew."""


def waiting_lane(channel: str) -> LaneKey:
    """Return the lane of the backlog that has the mail of a channel outside its hours."""
    return LaneKey(channel, "")


class _Known:
    """A channel with a window."""

    __slots__ = ("channel", "is_open", "since", "told", "until")

    def __init__(self, channel: ChannelPolicy, now: float) -> None:
        self.channel = channel
        self.look(now)
        self.told = True
        """What the owner of the lanes was told last; mail may be in them when it is learned."""

    def look(self, now: float) -> None:
        spans, zone = self.channel.window, self.channel.time_zone
        self.is_open = is_open(spans, zone, now)
        self.since, self.until = now, change_after(spans, zone, now)

    def opens_at(self, now: float) -> float:
        if not self.since <= now < self.until:
            self.look(now)
        return 0.0 if self.is_open else self.until


class Hours:
    """Which channels of one queue are open."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._sooner = asyncio.Event()
        self.on_open: Callable[[str], None] = lambda name: None
        self.on_close: Callable[[str], None] = lambda name: None

    def opens_at(self, channel: ChannelPolicy) -> float:
        """Return when a channel opens, 0 where it is open now."""
        if not channel.window:
            return 0.0
        now = self._clock.now()
        known = self._known.get(channel.name)
        if known is None or _differ(known.channel, channel):
            known = self._known[channel.name] = _Known(channel, now)
            self._sooner.set()
        return known.opens_at(now)

    def channel(self, name: str) -> ChannelPolicy | None:
        """Return a channel that is known to be closed now."""
        return self._known[name].channel if self.is_closed(name) else None

    def is_closed(self, name: str) -> bool:
        """Say whether a channel is known to be closed now."""
        known = self._known.get(name)
        return known is not None and known.opens_at(self._clock.now()) > 0

    def reconfigure(self, channels: Iterable[ChannelPolicy]) -> bool:
        """Learn windows, and forget those that are not so any more; True where one was."""
        named = {channel.name: channel for channel in channels}
        changed = False
        for name in list(self._known):
            known = named.get(name)
            if known is None or _differ(self._known[name].channel, known):
                del self._known[name]
                changed = True
        for channel in named.values():
            # Its mail may be in memory already.
            self.opens_at(channel)
        return changed

    async def run(self) -> None:
        """Tell of openings and closings as they come, until cancelled."""
        while True:
            self._sooner.clear()
            now = self._clock.now()
            for name, known in list(self._known.items()):
                open_now = known.opens_at(now) == 0
                if open_now != known.told:
                    known.told = open_now
                    (self.on_open if open_now else self.on_close)(name)
            until = min((known.until for known in self._known.values()), default=now + LOOK_S)
            try:
                async with asyncio.timeout(min(max(until - now, 0.001), LOOK_S)):
                    await self._sooner.wait()
            except TimeoutError:
                pass


def _differ(one: ChannelPolicy, other: ChannelPolicy) -> bool:
    return one.window != other.window or one.time_zone != other.time_zone
