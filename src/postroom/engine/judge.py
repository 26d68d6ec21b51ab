"""From the outcomes of an attempt to new states, events and due reports.

The one place that says what an outcome means for a recipient: delivered, failed, tried
again at a time of the channel's schedule, or expired because its lifetime is over.

Pure: the caller passes `now`.

Guarantees: 1. a recipient's state never goes back (V2). 2. every recipient that becomes
final has an event, and the report it is owed; where a failure is reported to nobody, an
event says so.
Called by: engine.settle.  Raises: nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from postroom.channels.deadline import cut
from postroom.channels.retry import next_due
from postroom.core.message import (
    Notify,
    Outcome,
    OutcomeKind,
    Recipient,
    RecipientState,
    RecipientStatus,
)
from postroom.engine.judgement import Case, DueReport, Judgement
from postroom.observe.events import (
    Event,
    RecipientDeferred,
    RecipientDelivered,
    RecipientFailed,
    ReportDropped,
)
from postroom.reports.decide import ReportKind, report_due, why_dropped


def judge(
    case: Case,
    recipients: Mapping[int, Recipient],
    before: Mapping[int, RecipientStatus],
    outcomes: Sequence[tuple[int, Outcome]],
    now: float,
    entropy: random.Random,
) -> Judgement:
    """Return what the outcomes, by index, come to at `now`."""
    statuses: list[RecipientStatus] = []
    events: list[Event] = []
    reports: list[DueReport] = []
    dropped: Counter[str] = Counter()
    finals = 0
    # 0 says that nothing was tried; and the clock may have been set back meanwhile.
    took_s = max(0.001, _milliseconds(now - case.started_at)) if case.started_at else 0.0
    for index, outcome in outcomes:
        recipient = recipients[index]
        status, event = _one(case, recipient, before[index], outcome, now, took_s, entropy)
        statuses.append(status)
        events.append(event)
        finals += status.state is not RecipientState.WAITING
        # Most mail asks for nothing and is delivered: then no report can be due.
        if (
            outcome.kind is not OutcomeKind.DELIVERED
            or (recipient.notify and recipient.notify & Notify.SUCCESS)
            or case.terms is not None
        ):
            report = _report(case, recipient, before[index], status, outcome, now)
            if report is not None:
                reports.append(report)
                if report.kind is ReportKind.DELAYED:
                    statuses[-1] = msgspec.structs.replace(status, warned=True)
            elif status.state in (RecipientState.FAILED, RecipientState.EXPIRED):
                dropped[why_dropped(case.reverse_path, recipient)] += 1
    # SEEDS row 35: a failure ends in a DSN or in a recorded discard.
    told = tuple([ReportDropped(case.id, count, reason) for reason, count in dropped.items()])
    return Judgement(tuple(statuses), finals, tuple(events), tuple(reports), told, now)


def _one(
    case: Case,
    recipient: Recipient,
    before: RecipientStatus,
    outcome: Outcome,
    now: float,
    took_s: float,
    entropy: random.Random,
) -> tuple[RecipientStatus, Event]:
    attempts = before.attempts + 1
    reply = str(outcome.reply)
    state = RecipientState.WAITING
    due_at = 0.0
    match outcome.kind:
        case OutcomeKind.DELIVERED:
            state = RecipientState.DELIVERED
        case OutcomeKind.FAILED:
            state = RecipientState.FAILED
        case OutcomeKind.DEFERRED:
            schedule = case.channel.retry
            due = next_due(schedule, case.since, attempts, now, entropy)
            # SEEDS row 35: a lifetime ends with a try. Where the site has not been tried since
            # the recipient was due, that comes with the end of the rest.
            if due is None and case.rest is not None and case.rest.since < before.due_at:
                due = case.rest.until
            if case.terms is not None:
                due = cut(case.terms, case.since, due, now)
            if due is None:
                state = RecipientState.EXPIRED
            else:
                due_at = max(due, case.not_before)
    status = RecipientStatus(
        before.index, state, attempts, due_at, reply, outcome.host, before.warned
    )
    event: Event
    if state is RecipientState.DELIVERED:
        event = RecipientDelivered(
            case.id, recipient.address, case.channel.name, case.site, outcome.host, reply,
            attempts, _milliseconds(now - case.since), case.tenant, took_s,
        )  # fmt: skip
    elif state is RecipientState.WAITING:
        event = RecipientDeferred(
            case.id, recipient.address, case.channel.name, case.site, outcome.host, reply,
            attempts, due_at, case.tenant, took_s,
        )  # fmt: skip
    else:
        event = RecipientFailed(
            case.id, recipient.address, case.channel.name, case.site, outcome.host, reply,
            attempts, state is RecipientState.EXPIRED, case.tenant, took_s,
        )  # fmt: skip
    return status, event


def _milliseconds(seconds: float) -> float:
    # round(seconds, 3) costs more than twice as much, for each message.
    return int(seconds * 1000.0 + 0.5) / 1000.0


def _is_late(case: Case, now: float) -> bool:
    """Say whether the sender is to hear that mail waits."""
    if case.terms is not None and case.terms.by_mode == "N":
        return now >= case.terms.deliver_by
    warning_s = case.channel.delay_warning_s
    return bool(warning_s) and now - case.since >= warning_s


def _report(
    case: Case,
    recipient: Recipient,
    before: RecipientStatus,
    status: RecipientStatus,
    outcome: Outcome,
    now: float,
) -> DueReport | None:
    terms = case.terms
    insists = False
    match status.state:
        case RecipientState.DELIVERED:
            kind = ReportKind.DELIVERED if case.ends_here else ReportKind.RELAYED
            if terms is not None and terms.by_mode and not case.ends_here:
                # RFC 2852: who set a deadline hears where it is lost, or wants each trace.
                insists = outcome.deadline_dropped or terms.by_trace
        case RecipientState.WAITING:
            # Who is to hear at the end of a time of its own hears no sooner.
            insists = terms is not None and terms.by_mode == "N"
            if before.warned or not _is_late(case, now):
                return None
            kind = ReportKind.DELAYED
        case _:
            kind = ReportKind.FAILED
    if not report_due(kind, case.reverse_path, recipient, outcome, insists=insists):
        return None
    until = None
    if kind is ReportKind.DELAYED:
        until = case.since + case.channel.retry.lifetime_s
        if terms is not None and terms.by_mode == "R":
            until = min(until, terms.deliver_by)
    return DueReport(kind, recipient, status, outcome, now, until)
