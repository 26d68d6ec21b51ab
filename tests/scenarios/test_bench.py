"""Anyone can measure their machine with one command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import ROOT


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "postroom", "bench", *words],
        capture_output=True, text=True, check=False, timeout=120,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


@pytest.mark.seed(61)
def test_rates_latencies_and_facts_are_printed_for_queues_and_sync_modes(tmp_path: Path) -> None:
    plot, table = tmp_path / "p.svg", tmp_path / "r.csv"
    done = bench(
        "--queues", "1,2", "--sync", "full,none", "--runs", "1", "--messages", "200",
        "--plot", str(plot), "--csv", str(table), "--directory", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("cpu: ") for line in lines)
    head = next(place for place, line in enumerate(lines) if line.startswith("QUEUES"))
    found = [line.split() for line in lines[head + 1 :]]
    assert [(words[1], words[0]) for words in found] == [
        ("full", "1"), ("full", "2"), ("none", "1"), ("none", "2"),
    ]  # fmt: skip
    assert all(float(word) > 0 for words in found for word in words[2:4])
    assert plot.read_text().startswith("<svg") and table.read_text().count("\n") > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.svg", "r.csv"]


def test_each_run_is_told_in_json_and_connections_may_be_new_ones(tmp_path: Path) -> None:
    done = bench(
        "--queues", "1", "--runs", "2", "--messages", "100", "--connections", "new", "--json",
        "--directory", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["run"] for one in runs] == [1, 2]
    assert all(one["delivered_per_s"] > 0 and one["accept_p99"] > 0 for one in runs)


def test_what_cannot_be_measured_is_refused_clearly() -> None:
    for words, says in (
        (("--queues", "0"), "expected numbers from 1 to 64"),
        (("--sync", "half"), "expected full, none or both"),
        (("--messages", "0"), "expected a number above 0"),
    ):
        done = bench(*words)
        assert done.returncode == 2 and says in done.stderr
