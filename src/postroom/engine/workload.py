"""What a queue has to do for one channel, and how long such attempts took so far.

Reads what others own: the census of the store, routes that are known, the pump's paces, limits.
Called by: supervisor.mail_service.  Raises: StoreUnavailable.
"""

from __future__ import annotations

import time

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import Clock
from postroom.engine.channel_counts import census
from postroom.engine.kinds import Kinds
from postroom.engine.parts import Routes
from postroom.queueing.forecast import OuterLimit, SiteWork, Workload
from postroom.queueing.pace import PaceBook
from postroom.queueing.scheduler import Scheduler
from postroom.spool.store import Store

ATTEMPTS_MIN = 100
"""What a worker uses at its start says nothing about the attempts after it."""


class Workloads:
    """Says what one queue has to do."""

    def __init__(
        self, queue: int, store: Store, router: Routes, scheduler: Scheduler, paces: PaceBook,
        kinds: Kinds, clock: Clock,
    ) -> None:  # fmt: skip
        self._queue = queue
        self._store = store
        self._router = router
        self._scheduler = scheduler
        self._paces = paces
        self._kinds = kinds
        self._clock = clock

    async def of(self, channel: ChannelPolicy) -> Workload:
        """Return what is to be done for a channel: where a site is not known, by domain."""
        sites: dict[str, SiteWork] = {}
        now, kinds = self._clock.now(), self._kinds
        async for one, message in census(self._store, now, kinds.depends):
            kind = kinds.of(message.envelope, message.provenance) if message is not None else 0
            found = self._router.lookup(one.domain, kind)
            policy = (
                found.channel if found is not None else self._router.channel_of(one.domain, kind)
            )
            if policy.name != channel.name:
                continue
            site = found.site if found is not None else one.domain
            known = sites.get(site, SiteWork(site))
            sites[site] = msgspec.structs.replace(
                known,
                waiting=known.waiting + one.waiting,
                deferred=known.deferred + one.deferred,
                held=known.held + one.held,
            )
        for site, pace in self._paces.of(channel.name).items():
            sites[site] = msgspec.structs.replace(
                sites.get(site, SiteWork(site)),
                attempts=pace.attempts,
                seconds=pace.seconds,
                recipients=pace.recipients,
                left=pace.left,
            )
        scheduler = self._scheduler
        return Workload(
            self._queue,
            scheduler.concurrency,
            channel.limit,
            channel.site_limit,
            tuple(OuterLimit(str(gate.key), limit) for gate, limit in scheduler.outer()),
            self._cpu_s(),
            tuple(sites[site] for site in sorted(sites)),
        )

    def _cpu_s(self) -> float:
        attempts = self._paces.attempts
        return time.process_time() / attempts if attempts >= ATTEMPTS_MIN else 0.0
