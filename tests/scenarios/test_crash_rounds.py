"""A few rounds of `make crash`: kill -9 of everything under load, and all faults by dice.

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
@pytest.mark.timeout(180 + 20 * ROUNDS)
@pytest.mark.parametrize("target", ["group", "mixed"])
def test_nothing_acknowledged_is_lost_whatever_is_done_to_a_server_under_load(target: str) -> None:
    with tempfile.TemporaryDirectory(prefix="pr-") as base:
        (Path(base) / "server").mkdir(mode=0o700)
        run = CrashRun(Path(base), rounds=ROUNDS, seed=7, target=target)
        found = run.run(LONGEST_S)
        assert found.violations == [], table(run, found)
        # The rounds were what they are meant to be: mail was taken, deferred and doubted.
        assert found.acknowledged > 20
        assert found.deferred > 0
