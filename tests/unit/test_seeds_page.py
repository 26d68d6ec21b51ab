"""docs/seeds.md names the tests that there are, and every demand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.seed_rows import ROWS
from tests.support.seed_table import MarkedTest, table_of

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "seeds.md"
LINE = re.compile(r"^\| (\d+) \| ([^|]+) \| (?:`(\w+)` in `([^`]+)`|no test yet) \|", re.M)


def marked() -> Iterator[tuple[int, str, str]]:
    """Give (demand, test, file) of every mark."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.seed":
                    for number in mark.args:
                        assert isinstance(number, ast.Constant) and number.value in ROWS
                        yield number.value, node.name, str(path.relative_to(TESTS.parent))


def test_the_page_names_every_demand_and_every_test_that_is_marked() -> None:
    lines = LINE.findall(PAGE.read_text("utf-8"))
    assert sorted({int(number) for number, *_ in lines}) == list(range(1, 62)) == list(ROWS)
    on_page = {(int(number), name, place) for number, _, name, place in lines if name}
    assert on_page == set(marked()), "run: make seeds"


def test_a_test_with_variants_is_one_line_and_a_demand_without_a_test_says_so() -> None:
    test = MarkedTest("tests/scenarios/test_x.py", "test_y")
    test.outcomes, test.seconds = {"passed", "skipped"}, 1.25
    bad = MarkedTest("tests/scenarios/test_x.py", "test_z")
    bad.outcomes = {"passed", "failed"}
    lines = LINE.findall(page := table_of({7: [test, bad]}))
    assert len(lines) == len(ROWS) + 1
    assert f"| 7 | {ROWS[7]} | `test_y` in `tests/scenarios/test_x.py` | passed | 1.2 |" in page
    assert "`test_z` in `tests/scenarios/test_x.py` | failed | 0.0 |" in page
    assert f"| 8 | {ROWS[8]} | no test yet | | |" in page
    assert "1 of 61 demands have a test." in page
