"""What a process does not need by default it does not load: each has its modules for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
HEAVY = {
    "serve": (
        "aiohttp", "cryptography", "dns", "rich",
        "postroom.delivery", "postroom.engine.engine", "postroom.ingress.session",
        "postroom.queueing.scheduler", "postroom.reports", "postroom.spool.embedded.store",
    ),
    "worker_main": ("aiohttp", "cryptography", "dns", "postroom.config.loader", "rich"),
}  # fmt: skip


def loaded_by(module: str) -> set[str]:
    code = f"import sys, postroom.supervisor.{module}; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-P", "-c", code]
    return set(subprocess.check_output(command, env=environment, text=True).split())


@pytest.mark.parametrize("module", HEAVY)
def test_a_process_loads_nothing_that_it_does_not_need_by_default(module: str) -> None:
    assert loaded_by(module).isdisjoint(HEAVY[module])
