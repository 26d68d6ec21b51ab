"""What one queue answers about channels: its part of each, and where mail of those gone goes.

Called by: supervisor.mail_service, control.offline.  Raises: StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from postroom.channels.match import ChannelTable
from postroom.channels.policy import ChannelPolicy
from postroom.control.answers import ChannelCount, ChannelMoved
from postroom.control.commands import ChannelArgs, NoArgs
from postroom.control.server import Handler
from postroom.core.clock import Clock
from postroom.core.message import StoredMessage
from postroom.engine.channel_counts import ChannelOf, census, count_channels
from postroom.engine.kinds import Kinds, Rules
from postroom.engine.workload import Workloads
from postroom.queueing.forecast import Workload
from postroom.queueing.scheduler import Scheduler
from postroom.spool.store import DomainCount, Store


class ChannelCommands:
    """The commands about channels over one queue."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        channel_of: ChannelOf,
        channels: Sequence[ChannelPolicy],
        kinds: Kinds,
        scheduler: Scheduler | None = None,
        workloads: Workloads | None = None,
    ) -> None:
        """`channel_of` says the channel of a domain; the last two are for where mail is tried."""
        self._store = store
        self._clock = clock
        self._channel_of = channel_of
        self._channels = tuple(channels)
        self._kinds = kinds
        self._scheduler = scheduler
        self._workloads = workloads
        self._before: tuple[ChannelPolicy, ...] = ()

    def reconfigure(self, channels: Sequence[ChannelPolicy]) -> None:
        """Count by other channels; remember those before, where any of them is gone."""
        now = tuple(channels)
        names = {one.name for one in now}
        if any(one.name not in names for one in self._channels):
            self._before = self._channels
        self._channels = now

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers, by name of the command."""
        every: dict[str, Handler] = {"channel count": self.count, "channel gone": self.gone}
        if self._workloads is not None:
            every["channel work"] = self.work
        return every

    async def count(self, _args: NoArgs) -> AsyncIterator[ChannelCount]:
        """Give each channel with what the queue has of it."""
        counts = await count_channels(self._store, self._clock.now(), self._channel_of, self._kinds)
        scheduler = self._scheduler
        most = scheduler.concurrency if scheduler is not None else 0
        for channel in self._channels:
            has = counts.get(channel.name, DomainCount(channel.name))
            yield ChannelCount(
                channel.name,
                min(channel.concurrency, most),
                min(channel.concurrency, channel.site_concurrency, most),
                scheduler.channel_busy(channel.name) if scheduler is not None else 0,
                has.waiting,
                has.deferred,
                has.held,
            )

    async def work(self, args: ChannelArgs) -> AsyncIterator[Workload]:
        """Give what the queue has to do for a channel; nothing where it has no such channel."""
        assert self._workloads is not None
        for channel in self._channels:
            if channel.name == args.name:
                yield await self._workloads.of(channel)

    async def gone(self, _args: NoArgs) -> AsyncIterator[ChannelMoved]:
        """Give the channels that the last reload took away, and which have their mail now."""
        if not self._before:
            return
        before, there = ChannelTable(self._before), {one.name for one in self._channels}
        old = Kinds(Rules(before), self._kinds.tenants)

        def depends(domain: str) -> bool:
            return self._kinds.depends(domain) or old.depends(domain)

        def kind_by(kinds: Kinds, message: StoredMessage | None) -> int:
            return kinds.of(message.envelope, message.provenance) if message is not None else 0

        moved: dict[tuple[str, str], int] = {}
        async for one, message in census(self._store, self._clock.now(), depends):
            name = before.match(one.domain, kind=kind_by(old, message)).channel.name
            if name not in there:
                key = (name, self._channel_of(one.domain, kind_by(self._kinds, message)))
                moved[key] = moved.get(key, 0) + one.waiting + one.deferred + one.held
        for (name, to), recipients in moved.items():
            yield ChannelMoved(name, to, recipients)
