"""Which reports follow from outcomes, and what the log says of them, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import (
    Content,
    NewMessage,
    Notify,
    Outcome,
    OutcomeKind,
    Recipient,
)
from postroom.core.reply import Reply
from postroom.delivery.attempt import Attempt, AttemptReport
from postroom.engine.active import ActiveMessage, ActiveTable
from postroom.engine.judge import Case, DueReport
from postroom.engine.reporter import Reporter
from postroom.engine.settle import Settler
from postroom.observe.events import (
    Defect,
    MessageDone,
    RecipientFailed,
    ReportDropped,
    ReportQueued,
)
from tests.sim.loop import run
from tests.support.engine import NO_USER, Bench, ScriptedAgent, delivered, failed


def refusing(attempt: Attempt) -> AttemptReport:
    """Every site refuses, but reports come home."""
    return delivered(attempt) if attempt.destination.domain == "home.test" else failed(attempt)


def test_a_report_is_told_of_only_once_it_is_durable() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(refusing, takes_s=1.0))
        bench.engine.start()
        queue_id = await bench.put("a@d1.test")
        bench.store.failure = StoreUnavailable(Reply(451, "4.3.0", "the disk is slow"))
        await asyncio.sleep(10)
        assert bench.events_of(ReportQueued) == [], "a crash now would take the report back"
        bench.store.failure = None
        await asyncio.sleep(10)
        (event,) = bench.events_of(ReportQueued)
        assert isinstance(event, ReportQueued)
        assert (event.about, event.kind, event.recipient) == (queue_id, "failed", "a@d1.test")
        assert bench.agent.recipients == ["a@d1.test", "me@home.test"]
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.parametrize(
    ("reverse_path", "notify", "reason"),
    [
        ("", Notify.UNSET, "null reverse-path"),
        ("me@home.test", Notify.NEVER, "NOTIFY=NEVER"),
        ("me@home.test", Notify.SUCCESS | Notify.DELAY, "NOTIFY without FAILURE"),
    ],
)
def test_a_failure_nobody_is_told_of_is_recorded(
    reverse_path: str, notify: Notify, reason: str
) -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(refusing))
        bench.engine.start()
        recipients = [Recipient(f"{name}@d1.test", int(notify)) for name in "abc"]
        queue_id = await bench.put(*recipients, reverse_path=reverse_path)
        await asyncio.sleep(10)
        assert bench.events_of(ReportDropped) == [ReportDropped(queue_id, 3, reason)]
        assert bench.events_of(ReportQueued) == []
        assert len(bench.events_of(RecipientFailed)) == 3
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_no_discard_is_recorded_before_it_is_durable() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(refusing, takes_s=1.0))
        bench.engine.start()
        await bench.put("a@d1.test", reverse_path="")
        bench.store.failure = StoreUnavailable(Reply(451, "4.3.0", "the disk is slow"))
        await asyncio.sleep(10)
        assert bench.events_of(ReportDropped) == []
        bench.store.failure = None
        await asyncio.sleep(10)
        assert len(bench.events_of(ReportDropped)) == 1
        await bench.engine.stop(1)

    run(scene())


class BrokenReporter(Reporter):
    """A reporter with a bug."""

    async def compose(
        self, message: ActiveMessage, due: Sequence[DueReport], content: Content | None
    ) -> list[tuple[NewMessage, tuple[DueReport, ...]]]:
        raise ZeroDivisionError("a bug of ours")


def test_a_report_that_cannot_be_composed_keeps_no_message() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent())
        queue_id = QueueId(await bench.put("a@d1.test"))
        stored = await bench.store.get(queue_id)
        assert stored is not None
        table = ActiveTable(10, 10, 0)
        active = table.open(queue_id, stored.arrived_at, stored.envelope, 10, 1)
        table.add(active, stored.envelope.recipients[0], stored.statuses[0])
        reporter = BrokenReporter(
            "mail.home.test", "", bench.engine.intake.new_id, bench.clock, bench.parts.entropy
        )
        settler = Settler(bench.parts, table, reporter)
        case = Case(queue_id, stored.arrived_at, "me@home.test", ChannelPolicy("default"), "d1")
        await settler.settle(active, case, [(0, Outcome(OutcomeKind.FAILED, NO_USER))])
        await asyncio.sleep(1)
        assert bench.events_of(ReportDropped) == [
            ReportDropped(queue_id, 1, "could not be composed")
        ]
        assert len(bench.events_of(Defect)) == 1
        assert len(bench.events_of(MessageDone)) == 1
        assert bench.store.counts().messages == 0 and len(table) == 0

    run(scene())
