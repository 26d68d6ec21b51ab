"""Who is told what: the rules of NOTIFY."""

from __future__ import annotations

import pytest

from postroom.core.message import Notify, Outcome, OutcomeKind, Recipient
from postroom.core.reply import Reply
from postroom.reports.decide import ReportKind, report_due

FAILED, DELAYED = ReportKind.FAILED, ReportKind.DELAYED
DELIVERED, RELAYED = ReportKind.DELIVERED, ReportKind.RELAYED
ALL = Notify.SUCCESS | Notify.FAILURE | Notify.DELAY


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        (Notify.UNSET, {FAILED, DELAYED}),
        (Notify.NEVER, set()),
        (Notify.FAILURE, {FAILED}),
        (Notify.DELAY, {DELAYED}),
        (Notify.SUCCESS, {DELIVERED, RELAYED}),
        (ALL, set(ReportKind)),
    ],
)
def test_notify_says_what_is_reported(notify: Notify, told: set[ReportKind]) -> None:
    recipient = Recipient("u@example.org", int(notify))
    assert {kind for kind in ReportKind if report_due(kind, "s@example.net", recipient)} == told


def test_nothing_is_reported_to_the_null_reverse_path() -> None:
    recipient = Recipient("u@example.org", int(ALL))
    assert not any(report_due(kind, "", recipient) for kind in ReportKind)


def test_success_is_not_reported_where_the_remote_host_does_it() -> None:
    outcome = Outcome(OutcomeKind.DELIVERED, Reply(250, "2.0.0", "ok"), "mx", dsn_passed_on=True)
    recipient = Recipient("u@example.org", int(ALL))
    assert not report_due(RELAYED, "s@example.net", recipient, outcome)
