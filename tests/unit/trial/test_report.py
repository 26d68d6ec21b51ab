"""Measurements are told with what they mean nothing without, and drawn to scale."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET

from postroom.trial.report import as_csv, as_svg, medians, ratios, row
from postroom.trial.run import Plan, Result, percentile

PLAN = Plan(queues=(1, 2), syncs=("full", "none"), messages=100, runs=3)


def result(run: int, queues: int, sync: str, rate: float) -> Result:
    return Result(run, queues, sync, rate, rate, 200.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


RESULTS = [
    result(run, queues, sync, 1000.0 * queues + run)
    for run in (1, 2, 3)
    for queues in (1, 2)
    for sync in ("full", "none")
]


def test_the_table_shows_medians_of_each_number_of_queues_and_sync_mode() -> None:
    middle = medians(RESULTS)
    assert [(one.sync, one.queues, one.delivered_per_s) for one in middle] == [
        ("full", 1, 1002.0), ("full", 2, 2002.0), ("none", 1, 1002.0), ("none", 2, 2002.0),
    ]  # fmt: skip
    assert row(middle[0]) == (1, "full", 1002, 1002, 200, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def test_two_numbers_of_queues_are_compared_round_by_round() -> None:
    rates = {1: (1000.0, 500.0, 800.0), 2: (1100.0, 600.0, 1600.0)}
    rounds = [
        result(run, queues, "full", rates[queues][run - 1])
        for run in (1, 2, 3)
        for queues in (1, 2)
    ]
    assert ratios(rounds) == [("1 to 2", "full", "1.200", "1.150", "1.600", 3)]
    assert ratios(rounds[:2]) == []


def test_the_file_holds_every_run_and_the_facts_of_the_machine() -> None:
    lines = as_csv(RESULTS, PLAN).splitlines()
    facts = [line for line in lines if line.startswith("# ")]
    assert any(line.startswith("# cpu: ") for line in facts)
    assert any(line.startswith("# python: ") for line in facts)
    rows = list(csv.DictReader(lines[len(facts) :]))
    assert len(rows) == len(RESULTS) and rows[0]["delivered_per_s"] == "1001.0"


def test_the_plot_is_well_formed_and_higher_rates_stand_higher() -> None:
    root = ET.fromstring(as_svg(RESULTS, PLAN))
    space = "{http://www.w3.org/2000/svg}"
    lines = root.findall(f"{space}polyline")
    assert len(lines) == 2, "one for each sync mode"
    points = [tuple(map(float, pair.split(","))) for pair in lines[0].attrib["points"].split()]
    assert points[1][0] > points[0][0] and points[1][1] < points[0][1]
    assert len(root.findall(f"{space}circle")) == len(RESULTS)
    assert "runs" in "".join(root.itertext())


def test_percentiles_are_of_the_values_themselves() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (51.0, 100.0)
    assert percentile([], 0.5) == 0.0
