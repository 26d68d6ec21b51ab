"""The power of the disks is cut under load: what was acknowledged is there when they are back.

Needs root and loop devices. More: `make power-cuts CUTS=200`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.support.power_run import PowerRun

CUTS = 2


@pytest.mark.timeout(180)
def test_nothing_acknowledged_is_lost_when_the_power_of_all_disks_is_cut_under_load() -> None:
    with tempfile.TemporaryDirectory(prefix="pr-") as base:
        (Path(base) / "server").mkdir(mode=0o700)
        run = PowerRun(Path(base), CUTS, seed=3)
        found = run.run(0.8)
        assert found.violations == []
        assert len(run.ledger.kills) == CUTS
        assert found.acknowledged > 10
