"""Three rounds of `make crash`: kill -9 of the whole process group under load.

More: POSTROOM_CRASH_ROUNDS=200 python -m pytest tests/scenarios/test_crash_rounds.py.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.support.crash_run import CrashRun
from tools.crash import table

LONGEST_S = 0.8
ROUNDS = int(os.environ.get("POSTROOM_CRASH_ROUNDS", "3"))


@pytest.mark.seed(8)
@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_nothing_acknowledged_is_lost_when_everything_is_killed_under_load() -> None:
    with tempfile.TemporaryDirectory(prefix="pr-") as base:
        (Path(base) / "server").mkdir(mode=0o700)
        run = CrashRun(Path(base), rounds=ROUNDS, seed=7, target="group")
        found = run.run(LONGEST_S)
        assert found.violations == [], table(run, found)
        # The rounds were what they are meant to be: mail was taken, deferred and doubted.
        assert found.acknowledged > 20
        assert found.deferred > 0
