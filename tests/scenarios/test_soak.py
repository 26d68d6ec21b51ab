"""Some seconds of `make soak`: all of its parts work, and every message is accounted for.

Too short to judge memory by it: an hour of it is `make soak`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.support.soak_run import SoakRun

SECONDS = 4.0


@pytest.mark.timeout(300)
def test_under_load_with_faults_on_every_message_is_accounted_for_and_processes_are_watched() -> (
    None
):
    with tempfile.TemporaryDirectory(prefix="pr-") as base:
        (Path(base) / "server").mkdir(mode=0o700)
        run = SoakRun(Path(base), SECONDS, seed=5, capacity_s=1.0)
        rises = run.run()
        assert run.violations == []
        assert run.capacity > 10 and run.load.count > 20
        assert run.sites.count + run.reported > 20
        assert {"master", "queue1", "console", "webhooks"} <= {name for name, _ in run.samples}
        assert {rise.measure for rise in rises} <= {"anonymous_octets", "descriptors", "threads"}
        assert not any(rise.is_judged for rise in rises), "they are too young"
        assert run.flows and run.flows[-1].spool_octets > 0
        assert run.unrest.done["request"] > 0
