"""A short `make limits-run`: limits of every scope hold while workers and the master are killed.

More: make limits-run MINUTES=10.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.support.limits_run import CONNECTIONS, PARTS, LimitsRun, Scope, reckon
from tests.support.limits_sink import Call
from tools.limits_run import table

SECONDS = 14.0


@pytest.mark.seed(22)
@pytest.mark.seed(23)
@pytest.mark.timeout(180)
def test_limits_of_all_scopes_hold_while_workers_and_the_master_are_killed() -> None:
    with tempfile.TemporaryDirectory(prefix="pr-") as base:
        run = LimitsRun(Path(base), SECONDS, seed=7)
        rows = run.run()
        print(table(rows))
        assert [row for row in rows if row.violations] == []
        assert len(rows) == sum(len(part.scopes) for part in PARTS)
        # The run was what it is meant to be: both were killed, and what binds was reached.
        assert all(run.kills.values()), run.kills
        connections = [row for row in rows if row.part == CONNECTIONS.name]
        assert all(2 * row.peak > row.limit for row in connections), table(rows)


def test_what_the_sites_saw_above_a_limit_is_a_violation() -> None:
    calls = [
        Call("busy1", 0.0, 9.0, "a.example", [(1.0, 2.0), (3.0, 4.0)]),
        Call("busy2", 1.0, 9.0, "a.example", [(1.5, 2.0)]),
        Call("busy1", 2.0, 9.0, "b.example", [(3.0, 4.0)]),
    ]

    def found(of: str, limit: int, group: str = "", interval_s: float = 0.0) -> tuple[int, int]:
        scope = Scope("", of, limit, lambda call: call.sender.startswith(group), interval_s)
        row = reckon("", scope, calls)
        return row.peak, row.violations

    assert found("connections", 3) == (3, 0) and found("connections", 2) == (3, 1)
    assert found("connections", 1, "a") == (2, 1)
    assert found("attempts", 2) == (2, 0) and found("attempts", 1) == (2, 2)
    assert found("messages", 4, interval_s=4.0) == (4, 0)
    assert found("messages", 2, interval_s=4.0)[1] > 0
