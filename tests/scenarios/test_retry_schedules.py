"""Deferred mail is tried when `postroom retry-table` says, whatever the kind of schedule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command_line import in_json, listed
from tests.support.crash_run import seconds
from tests.support.daemon import Daemon
from tests.support.ledger import LOG_PRECISION_S
from tests.support.sink import SinkThread

JITTER = 0.05
# Between the last attempt but one and the end lies more than jitter and a busy machine take,
# so that there are always as many attempts as the table has lines.
SCHEDULES = {
    "quadratic": ("quadratic 1s max 3s for 6s", [0, 1, 4, 6]),
    "exponential": ("exponential 1s x2 max 3s for 7500ms", [0, 1, 3, 6, 7.5]),
    "list": ("list 1s 2s for 6300ms", [0, 1, 3, 5, 6.3]),
}


def channels() -> str:
    text = ""
    for name, (schedule, _) in SCHEDULES.items():
        text += f'[channel.{name}]\nmatch = ["{name}.example"]\nretry = "{schedule} jitter 5%"\n'
    return text


def check(table: list[dict[str, Any]], attempts: list[dict[str, Any]], arrived_at: float) -> None:
    """Compare the events of all attempts with the table, which is without jitter."""
    assert [event["attempts"] for event in attempts] == [step["number"] for step in table]
    due_at = arrived_at
    for before, after, step in zip(attempts, attempts[1:], table[1:], strict=False):
        # An attempt is judged after it was due and before its line is written; from then on
        # the delay counts, more or less by the jitter.
        judged_by = seconds(before["time"]) + LOG_PRECISION_S
        if step["is_last"]:
            assert before["due_at"] == arrived_at + step["at_s"]
        else:
            assert before["due_at"] >= due_at + step["delay_s"] * (1 - JITTER)
            assert before["due_at"] <= judged_by + step["delay_s"] * (1 + JITTER)
        due_at = before["due_at"]
        assert seconds(after["time"]) + LOG_PRECISION_S >= due_at, "tried before it was due"


@pytest.mark.seed(34)
def test_logged_attempts_follow_the_printed_table() -> None:
    with (
        SinkThread("rcpt=r@* reply=451 4.2.0 Not now") as sink,
        Daemon(relay=sink.port, queues=1, config=channels()) as daemon,
    ):
        for name in SCHEDULES:
            daemon.send("a@example.org", [f"r@{name}.example"])
        arrivals = {one["recipients"][0]["address"]: one["arrived_at"] for one in listed(daemon)}
        daemon.wait_for_event("failed", len(SCHEDULES), 30)
        for name, (_, at_s) in SCHEDULES.items():
            table = in_json(daemon, "retry-table", name)
            assert [step["at_s"] for step in table] == at_s
            address = f"r@{name}.example"
            attempts = [
                event
                for event in daemon.log()
                if event.get("recipient") == address and event["event"] in ("deferred", "failed")
            ]
            assert [event["event"] for event in attempts[:-1]] == ["deferred"] * (len(table) - 1)
            assert attempts[-1]["event"] == "failed" and attempts[-1]["expired"]
            check(table, attempts, arrivals[address])
