"""What the master answers on its control socket.

Called by: supervisor.master.  Raises: ControlError through the handlers.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from postroom import __version__
from postroom.control.answers import (
    Changed,
    ChannelStatus,
    LayoutProgress,
    Pong,
    QueueStatus,
    RelayStatus,
    ReloadResult,
    SourceStatus,
    Status,
)
from postroom.control.commands import (
    ChannelArgs,
    ChannelSetArgs,
    HostArgs,
    LessonArgs,
    LoadSetArgs,
    NoArgs,
    QueueAddArgs,
    QueueLayoutArgs,
    QueueVerbArgs,
    SourceArgs,
    SourcePauseArgs,
    StopArgs,
)
from postroom.control.protocol import Code, ControlError
from postroom.control.server import Handler
from postroom.core.errors import ConfigurationError
from postroom.observe.board import WorkerState
from postroom.observe.figures import figures_in
from postroom.shaping.lessons import Lesson
from postroom.spool.queue_state import QUEUE_VERBS, QueueState
from postroom.supervisor.fleet import Fleet
from postroom.supervisor.overview_commands import server_handlers
from postroom.supervisor.slot import Slot

if TYPE_CHECKING:
    from postroom.supervisor.master import Master


def status_of(master: Master) -> Status:
    """Return the state of the server, from the board and what the master knows."""
    fleet, config = master.fleet, master.config
    assert fleet is not None
    return Status(
        version=__version__,
        pid=os.getpid(),
        started_at=master.started_at,
        hostname=config.hostname,
        base=config.spool.base,
        source=config.source,
        generation=config.generation,
        delivery="suspended" if fleet.is_suspended else "running",
        stopping=fleet.is_stopping,
        listen=master.listen,
        pending=master.pending,
        queues=tuple(_queue_status(master, slot) for slot in fleet.slots),
        companions=master.companions.status() if master.companions is not None else (),
    )


def handlers_of(master: Master) -> dict[str, Handler]:
    """Return the handlers of the master's commands."""

    def fleet() -> Fleet:
        assert master.fleet is not None
        return master.fleet

    async def ping(_args: NoArgs) -> Pong:
        return Pong(os.getpid(), 0, __version__, master.config.generation)

    async def status(_args: NoArgs) -> Status:
        return status_of(master)

    async def reload(_args: NoArgs) -> ReloadResult:
        try:
            return await master.reload()
        except ConfigurationError as error:
            hint = "nothing was changed; the server goes on as before"
            raise ControlError(str(error), hint, Code.USAGE) from error

    async def stop(args: StopArgs) -> Changed:
        master.stop("postroom stop", now=args.now)
        return Changed(len(fleet().slots))

    async def log_reopen(_args: NoArgs) -> Changed:
        return Changed(master.reopen_logs())

    async def suspend(_args: NoArgs) -> Changed:
        return Changed(master.suspend())

    async def resume(_args: NoArgs) -> Changed:
        return Changed(master.resume())

    async def run_all(_args: NoArgs) -> Changed:
        return Changed(master.run_all())

    async def load_set(args: LoadSetArgs) -> Changed:
        master.queue_changes.pretend(args.queue, args.load_ppm)
        return Changed(1)

    async def queue_list(_args: NoArgs) -> AsyncIterator[QueueStatus]:
        for slot in fleet().slots:
            yield _queue_status(master, slot)

    return {
        **_queue_handlers(master),
        **_channel_handlers(master),
        **_relay_handlers(master),
        **_source_handlers(master),
        **_site_handlers(master),
        **server_handlers(master, lambda: status_of(master)),
        "ping": ping,
        "status": status,
        "reload": reload,
        "stop": stop,
        "log reopen": log_reopen,
        "load set": load_set,
        "queue list": queue_list,
        "delivery suspend": suspend,
        "delivery resume": resume,
        "delivery run": run_all,
    }


def _relay_handlers(master: Master) -> dict[str, Handler]:
    """Return the handlers of the commands about relays."""

    async def listing(_args: NoArgs) -> AsyncIterator[RelayStatus]:
        assert master.fleet is not None
        for status in master.fleet.health.relays(master.config):
            yield status

    async def purge(args: HostArgs) -> Changed:
        assert master.fleet is not None
        return Changed(master.fleet.purge(args.host))

    return {"relay list": listing, "relay purge": purge}


def _source_handlers(master: Master) -> dict[str, Handler]:
    """Return the handlers of the commands about sources."""
    changes = master.source_changes

    async def listing(_args: NoArgs) -> AsyncIterator[SourceStatus]:
        for status in changes.status():
            yield status

    async def pause(args: SourcePauseArgs) -> SourceStatus:
        return await changes.pause(args.name, args.site, args.for_s, args.reason)

    async def resume(args: SourceArgs) -> SourceStatus:
        return await changes.resume(args.name, args.site)

    return {"source list": listing, "source pause": pause, "source resume": resume}


def _site_handlers(master: Master) -> dict[str, Handler]:
    """Return the handlers of the commands about what replies have taught."""

    async def lessons(_args: NoArgs) -> AsyncIterator[Lesson]:
        assert master.fleet is not None
        for lesson in master.fleet.lessons.in_force():
            yield lesson

    async def resume(args: LessonArgs) -> Changed:
        assert master.fleet is not None
        return Changed(master.fleet.lessons.lift(args.site))

    return {"site lessons": lessons, "site resume": resume}


def _channel_handlers(master: Master) -> dict[str, Handler]:
    """Return the handlers of the commands about channels."""
    changes = master.channel_changes

    async def listing(_args: NoArgs) -> AsyncIterator[ChannelStatus]:
        for status in changes.status():
            yield status

    async def suspend(args: ChannelArgs) -> ChannelStatus:
        return await changes.suspend(args.name)

    async def resume(args: ChannelArgs) -> ChannelStatus:
        return await changes.resume(args.name)

    async def set_limits(args: ChannelSetArgs) -> ChannelStatus:
        return await changes.set(args.name, args.limits)

    return {
        "channel list": listing,
        "channel suspend": suspend,
        "channel resume": resume,
        "channel set": set_limits,
    }


def _queue_handlers(master: Master) -> dict[str, Handler]:
    """Return the handlers of the commands that change queues."""
    changes = master.queue_changes

    def setter(state: QueueState) -> Handler:
        async def set_state(args: QueueVerbArgs) -> QueueStatus:
            return _queue_status(master, await changes.set_state(args.queue, state))

        return set_state

    async def add(args: QueueAddArgs) -> QueueStatus:
        return _queue_status(master, await changes.add(args.directory))

    async def adopt(args: QueueAddArgs) -> QueueStatus:
        return _queue_status(master, await changes.adopt(args.directory))

    async def retire(args: QueueVerbArgs) -> Changed:
        await changes.retire(args.queue)
        return Changed(1)

    def layout(args: QueueLayoutArgs) -> AsyncIterator[LayoutProgress]:
        return changes.layout(args.queue, args.wanted)

    return {
        **{f"queue {verb}": setter(state) for verb, state in QUEUE_VERBS.items()},
        "queue add": add,
        "queue adopt": adopt,
        "queue retire": retire,
        "queue layout": layout,
    }


def _queue_status(master: Master, slot: Slot) -> QueueStatus:
    assert master.board is not None
    row = master.board.read(slot.number)
    state = row.state.word if row.pid or row.queue else "starting"
    if row.state is WorkerState.FAILED and slot.worker is not None:
        state = "starting"  # the next worker has not written its row yet
    return QueueStatus(
        **figures_in(row),
        queue=slot.queue,
        state=state,
        queue_state=slot.state,
        pid=row.pid or (slot.worker.pid if slot.worker is not None else 0),
        heartbeat_age_s=max(0.0, master.clock.now() - row.heartbeat) if row.heartbeat else 0.0,
        restarts=slot.backoff.restarts,
        detail=slot.reason,
        error=slot.error,
        starts_at=slot.starts_at,
        pretended_ppm=slot.pretended_ppm,
        is_grown=slot.is_grown,
    )
