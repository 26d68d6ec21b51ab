"""The threat model names tests that exist, and each of its measures has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_the_page_names_exists() -> None:
    missing = []
    for file, name in NAMED.findall(PAGE):
        tree = ast.parse((ROOT / file).read_text("utf-8")) if (ROOT / file).is_file() else None
        functions = {
            node.name for node in ast.walk(tree or ast.Module([], []))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }  # fmt: skip
        if name not in functions:
            missing.append(f"{file}::{name}")
    assert not missing, f"docs/security.md names tests that are not there: {missing}"


def test_every_measure_is_held_by_a_test() -> None:
    measures = PAGE.split("## What holds it", 1)[1].split("\n## ", 1)[0].split("\n### ")[1:]
    assert len(measures) >= 9
    bare = [one.splitlines()[0] for one in measures if not NAMED.search(one)]
    assert not bare, f"no test: {bare}"
