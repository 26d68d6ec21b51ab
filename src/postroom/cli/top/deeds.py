"""What keys of `postroom top` do to the server: which command, and what is asked before.

Pure but for `do`, which sends it.  Called by: cli.top.state, cli.top.watcher.
Raises: ControlError through `do`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from postroom.control.answers import Changed
from postroom.control.client import ControlClient
from postroom.control.commands import (
    ChannelArgs,
    HostArgs,
    LessonArgs,
    MailVerbArgs,
    QueueVerbArgs,
    SiteArgs,
    SourceArgs,
    SourcePauseArgs,
    WhyArgs,
)
from postroom.control.overview import (
    ChannelView,
    HostView,
    QueueView,
    SiteView,
    SourceView,
)
from postroom.control.paths import RunPaths
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.engine.why import Why
from postroom.spool.query import Query
from postroom.spool.queue_state import QueueState
from postroom.spool.store import Selection

REASON = "by postroom top"


class Step(NamedTuple):
    """One command: of the master, or (`queues`) of these queues."""

    command: str
    args: Any
    queues: tuple[int, ...] | None = None


class Deed(NamedTuple):
    """What is to be done, the question before it, and what is said after it."""

    question: str
    done: str
    steps: tuple[Step, ...]


def _this(message: StoredMessage) -> Query:
    return Query(Selection((message.id,)))


def hold(value: object) -> Deed | None:
    """Return how to stop attempts of what a row is of; None where that is not to be done here."""
    match value:
        case QueueView() if value.status.queue_state is not QueueState.HELD:
            name = f"queue{value.queue}"
            return Deed(
                f"Hold {name}: take mail and attempt nothing, until it is enabled?",
                f"{name} is held", (Step("queue hold", QueueVerbArgs(value.queue)),),
            )  # fmt: skip
        case ChannelView() if value.state != "suspended":
            return Deed(
                f"Suspend channel {value.name}: no new attempts until it is resumed?",
                f"channel {value.name} is suspended",
                (Step("channel suspend", ChannelArgs(value.name)),),
            )
        case SourceView():
            return Deed(
                f"Pause source {value.name} until it is resumed?",
                f"source {value.name} is paused",
                (Step("source pause", SourcePauseArgs(value.name, reason=REASON)),),
            )
        case StoredMessage() if not value.hold:
            return Deed(
                f"Hold message {value.id}?", f"{value.id} is held",
                (Step("mail hold", MailVerbArgs(_this(value), REASON), ()),),
            )  # fmt: skip
    return None


def resume(value: object) -> Deed | None:
    """Return how to let attempts be made again."""
    match value:
        case QueueView() if value.status.queue_state is not QueueState.ENABLED:
            name = f"queue{value.queue}"
            return Deed(
                f"Enable {name}: take mail and deliver it?", f"{name} is enabled",
                (Step("queue enable", QueueVerbArgs(value.queue)),),
            )  # fmt: skip
        case ChannelView():
            return Deed(
                f"Resume channel {value.name}?", f"channel {value.name} is resumed",
                (Step("channel resume", ChannelArgs(value.name)),),
            )  # fmt: skip
        case SiteView() if value.state == "suspended" or value.lessons:
            return Deed(
                f"Lift what reply rules do to {value.site}, in all queues?",
                f"what replies taught of {value.site} is forgotten",
                (Step("site resume", LessonArgs(value.site)),),
            )
        case SiteView() | HostView():
            return purge(value)
        case SourceView():
            return Deed(
                f"Use source {value.name} again?", f"source {value.name} is in use",
                (Step("source resume", SourceArgs(value.name)),),
            )  # fmt: skip
        case StoredMessage() if value.hold:
            return Deed(
                f"Release message {value.id}?", f"{value.id} is released",
                (Step("mail release", MailVerbArgs(_this(value)), ()),),
            )  # fmt: skip
    return None


def purge(value: object) -> Deed | None:
    """Return how to have something tried at once that rests, or is down."""
    match value:
        case SiteView():
            down = [one.host for one in value.hosts if one.state != "closed"]
            steps = [Step("relay purge", HostArgs(host)) for host in down]
            steps.append(Step("site purge", SiteArgs(value.channel, value.site), value.queues))
            return Deed(
                f"Try site {value.site} at once?", f"{value.site} is tried at once", tuple(steps)
            )
        case HostView():
            return Deed(
                f"Try {value.host} at once?", f"{value.host} is tried at once",
                (Step("relay purge", HostArgs(value.host)),),
            )  # fmt: skip
        case StoredMessage():
            return Deed(
                f"Make message {value.id} due now?", f"{value.id} is due",
                (Step("mail run", MailVerbArgs(_this(value)), ()),),
            )  # fmt: skip
    return None


def explain(base: str, queue_id: QueueId, queues: tuple[int, ...]) -> str:
    """Return what a message waits for, as `postroom why` says it of its first recipient left."""
    for number in queues:
        with ControlClient(RunPaths(base).queue(number)) as worker:
            answer: Why = worker.call("why", WhyArgs(id=queue_id), Why)
        if answer.message is None:
            continue
        left = [one for one in answer.message.recipients if one.waits_for]
        if not left:
            break
        more = f" (and {len(left) - 1} more recipients)" if len(left) > 1 else ""
        return f"{left[0].address} waits for {left[0].waits_for}{more}"
    return "the message is gone: the event log knows"


def do(base: str, deed: Deed, queues: tuple[int, ...]) -> str:
    """Do it; return what to say. An empty tuple of queues in a step means all of `queues`."""
    paths = RunPaths(base)
    for step in deed.steps:
        if step.queues is None:
            with ControlClient(paths.control) as master:
                master.call(step.command, step.args)
            continue
        count = 0
        for number in step.queues or queues:
            with ControlClient(paths.queue(number)) as worker:
                count += msgspec.convert(worker.call(step.command, step.args), Changed).count
        if step.command.startswith("mail ") and not count:
            return "nothing was changed: the message is gone, or as it is wanted already"
    return deed.done
