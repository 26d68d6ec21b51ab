"""What a soak calls flat, and what it does not; and what it writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.soak_run import Flow
from tests.support.soak_samples import Rise, Sample, look, slope, verdict
from tools.doc_block import merged_rows, read_block, write_block
from tools.soak_plot import as_svg

MIB = 1 << 20


def series(octets: list[int], descriptors: int = 20) -> list[Sample]:
    return [
        Sample(10.0 * place, 2 * one, one, one, descriptors, 3, 0.1 * place)
        for place, one in enumerate(octets)
    ]


def judged(octets: list[int]) -> Rise:
    [rise] = [
        one for one in verdict("queue1", 1, series(octets), 600) if one.measure.startswith("anon")
    ]
    return rise


def test_a_line_has_its_slope_and_single_peaks_do_not_move_it() -> None:
    line = [(float(at), 3.0 * at) for at in range(50)]
    assert slope(line) == pytest.approx(3.0)
    line[7] = (7.0, 10_000.0)
    line[40] = (40.0, -10_000.0)
    assert slope(line) == pytest.approx(3.0)


def test_memory_that_fills_and_then_stays_is_flat_and_one_that_goes_on_is_not() -> None:
    filling = [min(place, 20) * MIB + 30 * MIB for place in range(60)]
    assert judged(filling).is_flat
    leaking = [30 * MIB + place * MIB // 2 for place in range(60)]
    assert not judged(leaking).is_flat
    # Half a MiB each ten seconds.
    assert judged(leaking).per_hour == pytest.approx(180 * MIB, rel=0.02)


def test_a_process_that_was_just_started_is_not_judged() -> None:
    young = judged([30 * MIB + place * MIB for place in range(12)])
    assert young.is_flat and not young.is_judged


def test_a_process_is_looked_at_and_one_that_is_gone_is_none() -> None:
    sample = look(os.getpid(), 1.0)
    assert sample is not None
    assert sample.rss_octets >= sample.anonymous_octets > MIB
    assert sample.pss_octets > MIB and sample.descriptors > 2 and sample.threads >= 1
    assert look(2**22 + 1, 1.0) is None


def test_the_plot_has_a_line_for_each_process_and_each_that_followed_it() -> None:
    samples = {("queue1", 1): series([MIB] * 9), ("queue1", 2): series([MIB] * 9)}
    flows = [Flow(10.0 * place, place, place, 5, MIB, MIB, 0, 3) for place in range(9)]
    text = as_svg(samples, flows, [(20.0, "kill")], 90.0, "note")
    assert text.startswith("<svg") and text.count("<polyline") == 2 * 2 + 4
    assert text.count("stroke-dasharray") == 5


def test_a_table_between_markers_keeps_the_rows_of_other_runs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- t: begin -->\n<!-- t: end -->\nb\n")
    for row in (("two", "2"), ("one", "1"), ("two", "3")):
        rows = merged_rows(read_block(page, "t"), ("name", "n"), row, ("one", "two"))
        write_block(page, "t", rows)
    assert page.read_text() == (
        "a\n<!-- t: begin -->\n| name | n |\n| --- | --- |\n| one | 1 |\n| two | 3 |\n"
        "<!-- t: end -->\nb\n"
    )
    with pytest.raises(SystemExit, match="no lines"):
        read_block(page, "other")
