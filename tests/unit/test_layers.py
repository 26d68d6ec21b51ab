"""The layers hold: a package imports only from lower layers, and never from a sibling.

The table is the one of docs/design/architecture.md. Imports are read from the syntax tree,
those inside functions and under TYPE_CHECKING included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "postroom"

LAYERS = {
    "core": 0,
    "smtp": 1, "channels": 1, "observe": 1,
    "spool": 2, "routing": 2, "shaping": 2, "reports": 2, "groups": 2, "hooks": 2,
    "queueing": 3, "delivery": 3,
    "engine": 4,
    "ingress": 5, "peer": 5, "sink": 5,
    "config": 6,
    "control": 7,
    "supervisor": 8, "client": 8, "takeover": 8, "trial": 8,
    "api": 9, "webhooks": 9,
    "console": 10, "cli": 10,
}  # fmt: skip

# What decides does not wait, talk or write: these packages run in virtual time.
PURE_PACKAGES = {"core", "smtp", "channels", "queueing", "shaping", "groups"}
MODULES_OF_THE_WORLD = {
    "asyncio", "concurrent", "fcntl", "io", "mmap", "multiprocessing", "os", "pathlib",
    "select", "selectors", "shutil", "signal", "socket", "subprocess", "tempfile",
    "threading", "uvloop",
}  # fmt: skip


def _modules() -> Iterator[tuple[str, str, ast.Module]]:
    """Give (package, place, syntax tree) of every module below src/postroom."""
    for path in sorted(SOURCE.rglob("*.py")):
        relative = path.relative_to(SOURCE)
        package = relative.parts[0].removesuffix(".py")
        yield package, str(relative), ast.parse(path.read_text("utf-8"), str(path))


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give (line, dotted name) of every import; `from a import b` gives a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name, not relatively"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def test_every_package_has_a_layer() -> None:
    packages = {package for package, _, _ in _modules()} - {"__init__", "__main__"}
    assert packages <= LAYERS.keys(), f"give a layer to {sorted(packages - LAYERS.keys())}"


def test_a_package_imports_only_from_lower_layers() -> None:
    wrong = []
    for package, place, tree in _modules():
        for line, name in _imports(tree):
            parts = name.split(".")
            # The root package may name anything; its version may be read by everyone.
            if parts[0] != "postroom" or package in ("__init__", "__main__"):
                continue
            if len(parts) < 2 or parts[1] == "__version__" or parts[1] == package:
                continue
            if LAYERS[parts[1]] >= LAYERS[package]:
                wrong.append(
                    f"{place}:{line}: {package} (layer {LAYERS[package]}) imports "
                    f"{parts[1]} (layer {LAYERS[parts[1]]})"
                )
    assert not wrong, "\n" + "\n".join(wrong)


def test_what_decides_holds_no_async_no_sockets_and_no_files() -> None:
    wrong = []
    for package, place, tree in _modules():
        if package not in PURE_PACKAGES:
            continue
        for line, name in _imports(tree):
            if name.split(".")[0] in MODULES_OF_THE_WORLD:
                wrong.append(f"{place}:{line}: imports {name}")
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "open"
            ):
                wrong.append(f"{place}:{node.lineno}: opens a file")
            if isinstance(node, ast.Await):
                wrong.append(f"{place}:{node.lineno}: awaits")
    assert not wrong, "\n" + "\n".join(wrong)
