"""A pytest plugin: the table of demands, from what the tests that are marked for them did.

`pytest --seeds-table FILE` writes the table of this run; of marked tests that were left out of it
(`-k`) the line of the run before stays. A test with several parameters is one line: failed where
one failed, skipped where all were skipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.seed_rows import ROWS, SECTIONS

HEAD = """\
# What older queues taught

Postroom stands on the pains of older mail queues. Each line is a demand that stands for one of
them, and the test that does what the demand asks: with real servers where the test lies in
`tests/scenarios`, in virtual time or with one part alone elsewhere. A line says what the test
did when it last ran.

Written by `make seeds`; a test says its demand by `@pytest.mark.seed(NUMBER)`. Do not edit.
"""
NO_TEST = "no test yet"
NOT_RUN = "not run"
_LINE = re.compile(r"\| `(\w+)` in `([^`]+)` \| (\w+) \| ([0-9.]+) \|$", re.M)


class MarkedTest:
    """One test function and what became of it in all its variants."""

    def __init__(self, place: str, name: str) -> None:
        self.place = place
        self.name = name
        self.outcomes: set[str] = set()
        self.seconds = 0.0

    @property
    def result(self) -> str:
        """What became of it."""
        for outcome in ("failed", "passed", "skipped"):
            if outcome in self.outcomes:
                return outcome
        return NOT_RUN


class SeedTable:
    """Collects what marked tests do, and writes the table."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tests: dict[tuple[str, str], MarkedTest] = {}
        self._by_node: dict[str, MarkedTest] = {}
        self._by_row: dict[int, list[MarkedTest]] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note a test that is marked."""
        numbers = numbers_of(item)
        if not numbers:
            return
        place, _, rest = item.nodeid.partition("::")
        key = place, rest.partition("[")[0]
        if key not in self._tests:
            test = self._tests[key] = MarkedTest(*key)
            for number in numbers:
                self._by_row.setdefault(number, []).append(test)
        self._by_node[item.nodeid] = self._tests[key]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test did."""
        test = self._by_node.get(report.nodeid)
        if test is not None:
            test.seconds += report.duration
            if report.when == "call" or report.outcome != "passed":
                test.outcomes.add(report.outcome)

    def pytest_sessionfinish(self) -> None:
        """Write the table."""
        before = self._path.read_text("utf-8") if self._path.exists() else ""
        for name, place, result, seconds in _LINE.findall(before):
            test = self._tests.get((place, name))
            if test is not None and not test.outcomes:
                test.outcomes, test.seconds = {result}, float(seconds)
        self._path.write_text(table_of(self._by_row), encoding="utf-8")


def numbers_of(item: pytest.Item) -> list[int]:
    """Return the demands that a test is marked for."""
    numbers = sorted({number for mark in item.iter_markers("seed") for number in mark.args})
    unknown = [number for number in numbers if number not in ROWS]
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: no demand has number {unknown}")
    return numbers


def table_of(by_row: Mapping[int, Sequence[MarkedTest]]) -> str:
    """Return the page."""
    tested = sum(1 for number in ROWS if by_row.get(number))
    lines = [HEAD, f"{tested} of {len(ROWS)} demands have a test."]
    for section, rows in SECTIONS.items():
        lines += ["", f"## {section}", "", "| | what it asks | test | | seconds |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for number, text in rows.items():
            tests = by_row.get(number, ())
            if not tests:
                lines.append(f"| {number} | {text} | {NO_TEST} | | |")
            for test in tests:
                where = f"`{test.name}` in `{test.place}`"
                seconds = f"{test.seconds:.1f}" if test.outcomes else ""
                lines.append(f"| {number} | {text} | {where} | {test.result} | {seconds} |")
                text = "as above"
    return "\n".join(lines) + "\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--seeds-table", metavar="FILE", help="write the table of demands and their tests"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect where it is asked for."""
    path = config.getoption("--seeds-table")
    if path:
        config.pluginmanager.register(SeedTable(Path(path)), "seed-table")
