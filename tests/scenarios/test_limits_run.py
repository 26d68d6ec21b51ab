"""A short `make limits-run`: limits of every scope hold while workers and the master are killed.

More: make limits-run MINUTES=10.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.support.limits_run import CONNECTIONS, PARTS, LimitsRun
from tests.support.scopes import table

SECONDS = 20.0


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
