"""The list of what the compiled build compiles names modules that there are, and that can be."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _named() -> list[Path]:
    """Return the modules that setup.py names one by one."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    [compiled] = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMPILED"
    ]
    packages = ROOT / "src" / "postroom"
    assert [package for package in compiled if not (packages / package).is_dir()] == []
    return [
        packages / package / f"{name}.py"
        for package, names in compiled.items()
        if names != "*"
        for name in names.split()
    ]


def test_every_module_that_is_to_be_compiled_is_there() -> None:
    named = _named()
    assert len(named) > 20
    assert [str(path) for path in named if not path.is_file()] == []


def test_no_module_that_is_to_be_compiled_is_left_out_for_its_structs() -> None:
    struct = re.compile(r"^class \w+\(msgspec\.Struct", re.MULTILINE)
    assert [str(path) for path in _named() if struct.search(path.read_text())] == []
