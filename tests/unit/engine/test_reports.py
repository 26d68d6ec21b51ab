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
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.engine.active import ActiveMessage, ActiveTable
from postroom.engine.judgement import Case, DueReport
from postroom.engine.reporter import Reporter
from postroom.engine.rounds import JOIN_S
from postroom.engine.settle import Settler
from postroom.observe.events import (
    Defect,
    MessageDone,
    RecipientFailed,
    ReportDropped,
    ReportQueued,
)
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, NO_USER, Bench, ScriptedAgent, delivered, failed


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


def reports_of(bench: Bench) -> list[set[str]]:
    """Return the recipients of each DSN, in order of the DSNs."""
    by_report: dict[str, set[str]] = {}
    for event in bench.events_of(ReportQueued):
        assert isinstance(event, ReportQueued)
        by_report.setdefault(event.id, set()).add(event.recipient)
    return list(by_report.values())


def test_recipients_that_fail_at_several_sites_share_one_report() -> None:
    async def scene() -> None:
        class Uneven(ScriptedAgent):
            async def deliver(self, attempt: Attempt) -> AttemptReport:
                self.takes_s = {f"d{n}.test": float(n) for n in range(6)}.get(
                    attempt.destination.domain, 0.01
                )
                return await super().deliver(attempt)

        bench = Bench(Uneven(refusing))
        bench.engine.start()
        failing = [f"a{number}@d{number}.test" for number in range(1, 6)] + ["b@nowhere.test"]
        await bench.put(*failing)
        await asyncio.sleep(4.5)
        assert reports_of(bench) == []
        await asyncio.sleep(1)
        assert reports_of(bench) == [set(failing)]
        assert bench.agent.recipients.count("me@home.test") == 1
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_more_recipients_than_one_attempt_takes_share_one_report() -> None:
    async def scene() -> None:
        channel = ChannelPolicy("default", retry=NO_JITTER, recipients_max=3)
        bench = Bench(ScriptedAgent(refusing), [channel])
        bench.engine.start()
        await bench.put(*(f"a{number}@d1.test" for number in range(20)))
        await asyncio.sleep(5)
        assert [len(report) for report in reports_of(bench)] == [20]
        await bench.engine.stop(1)

    run(scene())


def test_a_failure_waits_for_a_slow_site_only_so_long() -> None:
    async def scene() -> None:
        class Slow(ScriptedAgent):
            async def deliver(self, attempt: Attempt) -> AttemptReport:
                self.takes_s = 100.0 if attempt.destination.domain == "d2.test" else 0.01
                return await super().deliver(attempt)

        bench = Bench(Slow(refusing))
        bench.engine.start()
        queue_id = QueueId(await bench.put("a@d1.test", "b@d2.test"))
        await asyncio.sleep(JOIN_S + 1)
        assert reports_of(bench) == [{"a@d1.test"}]
        stored = await bench.store.get(queue_id)
        assert stored is not None and stored.live_count == 1
        await asyncio.sleep(100)
        assert reports_of(bench) == [{"a@d1.test"}, {"b@d2.test"}]
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_what_was_delivered_is_durable_while_failures_wait() -> None:
    async def scene() -> None:
        def answer(attempt: Attempt) -> AttemptReport:
            if attempt.destination.domain != "d1.test":
                return delivered(attempt)
            taken, refused = delivered(attempt).outcomes[0], failed(attempt).outcomes[0]
            return AttemptReport((taken, refused), FailureScope.RECIPIENT)

        class Slow(ScriptedAgent):
            async def deliver(self, attempt: Attempt) -> AttemptReport:
                self.takes_s = 5.0 if attempt.destination.domain == "d2.test" else 0.01
                return await super().deliver(attempt)

        bench = Bench(Slow(answer))
        bench.engine.start()
        queue_id = QueueId(await bench.put("a@d1.test", "b@d1.test", "c@d2.test"))
        await asyncio.sleep(1)
        stored = await bench.store.get(queue_id)
        assert stored is not None
        assert [status.state.name for status in stored.statuses] == [
            "DELIVERED", "WAITING", "WAITING",
        ]  # fmt: skip
        await asyncio.sleep(4.5)
        assert reports_of(bench) == [{"b@d1.test"}]
        assert bench.store.counts().messages == 0, "c was the last that b waited for"
        await bench.engine.stop(1)

    run(scene())


def test_a_stop_waits_for_nobody_and_loses_no_failure() -> None:
    async def scene() -> None:
        class Slow(ScriptedAgent):
            async def deliver(self, attempt: Attempt) -> AttemptReport:
                self.takes_s = 100.0 if attempt.destination.domain == "d2.test" else 0.01
                return await super().deliver(attempt)

        bench = Bench(Slow(refusing))
        bench.engine.start()
        queue_id = QueueId(await bench.put("a@d1.test", "b@d2.test"))
        await asyncio.sleep(1)
        await bench.engine.stop(2)
        stored = await bench.store.get(queue_id)
        assert stored is not None
        assert [status.state.name for status in stored.statuses] == ["FAILED", "WAITING"]
        assert reports_of(bench) == [{"a@d1.test"}]

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
