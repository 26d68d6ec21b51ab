"""Channels are suspended, resumed and given other limits while the server runs.

What a change involves: it is kept in the base, the configuration in force is made from the
file's and all overrides, every worker gets it, and the answer comes once those that answer work
by it. Workers know nothing of overrides.

Guarantees: 1. changes happen one at a time, and not during a reload. 2. a change that cannot be
kept is not made: it would be gone after a restart.
Called by: supervisor.master, supervisor.master_commands.  Raises: ControlError.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping
from typing import Protocol

import msgspec

from postroom.channels.overrides import CONCURRENCY_MAX, SETTINGS, Override, orphaned, overridden
from postroom.channels.policy import ChannelPolicy
from postroom.channels.window import opens_at
from postroom.config.model import Config
from postroom.control.answers import ChannelStatus
from postroom.control.protocol import Code, ControlError
from postroom.core.clock import Clock
from postroom.core.terms import format_moment
from postroom.observe.board import Board
from postroom.observe.events import ChannelSet, EventSink, SettingIgnored
from postroom.supervisor.channel_overrides import ChannelOverrides, changed
from postroom.supervisor.fleet import Fleet

DEFAULT = "default"
"""Sets a limit back to what the file says."""
IN_FORCE_S = 2.0
"""How long workers are waited for; one that hangs has it when it goes on."""
POLL_S = 0.005


class Server(Protocol):
    """What is needed of the master."""

    config: Config
    clock: Clock
    fleet: Fleet | None
    board: Board | None
    changing: asyncio.Lock

    def put_in_force(self, config: Config) -> None:
        """Use a configuration from now on, with what operators set over it."""
        ...


class ChannelChanges:
    """What an operator sets of the channels of one server."""

    def __init__(self, server: Server, events: EventSink) -> None:
        """Read what was set before; raises QueueUnusable."""
        self._server = server
        self._events = events
        self._file = ChannelOverrides(server.config.spool.base)
        self._overrides: Mapping[str, Override] = self._file.read()
        for name in orphaned(server.config.channels, self._overrides):
            self._events.emit(SettingIgnored(f"channel {name}", GONE))

    def in_force(self, config: Config) -> Config:
        """Return what workers are to work by."""
        channels = overridden(config.channels, self._overrides)
        return msgspec.structs.replace(config, channels=channels)

    def status(self) -> list[ChannelStatus]:
        """Return all channels in the order of the file, then what is set of others."""
        listed = [
            status_of(channel, self._overrides.get(channel.name, Override()), self._server.clock)
            for channel in self._server.config.channels
        ]
        return listed + [
            status_of(None, self._overrides[name], self._server.clock, name)
            for name in orphaned(self._server.config.channels, self._overrides)
        ]

    async def suspend(self, name: str) -> ChannelStatus:
        """Make no new attempts of a channel until it is resumed."""
        self._find(name)
        return await self._change(name, {"suspended": True})

    async def resume(self, name: str) -> ChannelStatus:
        """Make attempts again."""
        return await self._change(name, {"suspended": False})

    async def set(self, name: str, limits: Mapping[str, int | None]) -> ChannelStatus:
        """Give a channel other limits, by names of settings; None: as the file says."""
        for setting, value in limits.items():
            if setting not in SETTINGS or not 0 <= (value or 0) <= CONCURRENCY_MAX:
                hint = f"{', '.join(SETTINGS)}: 0 to {CONCURRENCY_MAX}"
                raise ControlError(f"{setting} = {value} cannot be set", hint, Code.USAGE)
        if any(value is not None for value in limits.values()):
            self._find(name)
        return await self._change(name, limits)

    async def _change(self, name: str, what: Mapping[str, int | bool | None]) -> ChannelStatus:
        async with self._server.changing:
            before = self._overrides.get(name)
            if before is None:
                self._find(name)
            fields = {"is_suspended" if key == "suspended" else SETTINGS[key]: value
                      for key, value in what.items()}  # fmt: skip
            override = msgspec.structs.replace(before or Override(), **fields)
            overrides = changed(self._overrides, name, override)
            try:
                if overrides != self._overrides:
                    await asyncio.to_thread(self._file.keep, overrides)
            except OSError as error:
                raise ControlError(f"{self._file.path}: {error}", "nothing was changed") from error
            self._overrides = overrides
            for key, value in what.items():
                said = DEFAULT if value is None else str(value).lower()
                self._events.emit(ChannelSet(name, key, said))
            await self._put_in_force()
            return status_of(self._known().get(name), override, self._server.clock, name)

    async def _put_in_force(self) -> None:
        server = self._server
        assert server.fleet is not None
        config = msgspec.structs.replace(server.config, generation=server.config.generation + 1)
        server.put_in_force(config)
        async with asyncio.timeout(IN_FORCE_S) as waiting:
            try:
                while self._is_behind(config.generation):
                    await asyncio.sleep(POLL_S)
            except asyncio.CancelledError:
                if not waiting.expired():
                    raise

    def _is_behind(self, generation: int) -> bool:
        server = self._server
        assert server.fleet is not None and server.board is not None
        return any(
            slot.is_ready and server.board.read(slot.number).generation < generation
            for slot in server.fleet.slots
        )

    def _known(self) -> dict[str, ChannelPolicy]:
        return {channel.name: channel for channel in self._server.config.channels}

    def _find(self, name: str) -> ChannelPolicy:
        known = self._known()
        if name not in known:
            raise no_such_channel(name, tuple(known))
        return known[name]


GONE = "there is no such channel any more; what was set of it waits for one of that name"


def no_such_channel(name: str, known: tuple[str, ...]) -> ControlError:
    """Return the error of a name that no channel has."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else "see them: postroom channel list"
    return ControlError(f"there is no channel {name!r}", hint, Code.NOT_FOUND)


def status_of(
    channel: ChannelPolicy | None, override: Override, clock: Clock, name: str = ""
) -> ChannelStatus:
    """Return how a channel is; None for one that is gone and something is set of."""
    if channel is None:
        return ChannelStatus(
            name, "gone", GONE, is_suspended=override.is_suspended,
            concurrency_override=override.concurrency,
            site_concurrency_override=override.site_concurrency,
        )  # fmt: skip
    [in_force] = overridden((channel,), {channel.name: override})
    state, reason = "running", ""
    if override.is_suspended:
        state, reason = "suspended", f"by an operator: postroom channel resume {channel.name}"
    elif not in_force.concurrency or not in_force.site_concurrency:
        limit = "concurrency" if not in_force.concurrency else "per_site.concurrency"
        field = SETTINGS[limit]
        where = "set by an operator" if getattr(override, field) == 0 else channel.origin
        state, reason = "held", f"{limit} = 0 ({where or 'default'})"
    elif opens := opens_at(channel.window, channel.time_zone, clock.now()):
        state, reason = "closed", f"its window opens at {format_moment(opens)}"
    return ChannelStatus(
        channel.name, state, reason, channel.match, channel.route, channel.origin,
        channel.concurrency, channel.site_concurrency,
        override.concurrency, override.site_concurrency, override.is_suspended,
    )  # fmt: skip
