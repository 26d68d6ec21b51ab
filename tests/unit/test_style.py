"""The rules of style that a machine can hold (CONTRIBUTING.md has the reasons)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "postroom"
LINES_MAX = 400

# docs/glossary.md: one word for one thing. These are the synonyms it does not use.
BANNED_WORDS = {
    "job", "jobs", "payload", "payloads", "msgid", "msg", "shard", "shards", "upstream",
    "softbounce", "hardbounce", "blacklist", "whitelist",
}  # fmt: skip
WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
MODULE_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)?")


def _modules() -> Iterator[tuple[str, str, ast.Module]]:
    """Give (place, text, syntax tree) of every module below src/postroom."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text("utf-8")
        yield str(path.relative_to(SOURCE)), text, ast.parse(text, str(path))


def _defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give (line, name) of what a module defines: classes, functions, arguments, variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def _public_definitions(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Give (line, name, documented) of public functions and classes, and of public methods.

    A method of a class with bases may be described where it was first declared.
    """
    function = ast.FunctionDef | ast.AsyncFunctionDef
    for node in tree.body:
        if not isinstance(node, function | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.lineno, node.name, ast.get_docstring(node) is not None
        if isinstance(node, ast.ClassDef) and not node.bases:
            for member in node.body:
                if isinstance(member, function) and not member.name.startswith("_"):
                    documented = ast.get_docstring(member) is not None
                    yield member.lineno, f"{node.name}.{member.name}", documented


def test_every_module_opens_with_a_docstring() -> None:
    wrong = [place for place, _, tree in _modules() if not ast.get_docstring(tree)]
    assert not wrong, f"no docstring: {wrong}"


def test_no_module_is_longer_than_a_sitting() -> None:
    lengths = {place: text.count("\n") for place, text, _ in _modules()}
    wrong = {place: lines for place, lines in lengths.items() if lines > LINES_MAX}
    assert not wrong, f"split these ({LINES_MAX} lines at most): {wrong}"


def test_a_module_is_named_by_one_noun() -> None:
    names = (Path(place).stem for place, _, _ in _modules())
    wrong = sorted(name for name in names if not MODULE_NAME.fullmatch(name.strip("_")))
    assert not wrong, f"two words at most: {wrong}"


def test_public_functions_and_classes_are_documented() -> None:
    wrong = [
        f"{place}:{line}: {name}"
        for place, _, tree in _modules()
        for line, name, documented in _public_definitions(tree)
        if not documented
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_only_commands_print() -> None:
    wrong = [
        f"{place}:{node.lineno}"
        for place, _, tree in _modules()
        if not place.startswith("cli/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not wrong, f"print outside cli: {wrong}"


def test_names_use_the_words_of_the_glossary() -> None:
    wrong = []
    for place, _, tree in _modules():
        for line, name in _defined_names(tree):
            words = {word.lower() for word in WORD.findall(name)}
            if words & BANNED_WORDS:
                wrong.append(f"{place}:{line}: {name}")
    assert not wrong, "see docs/glossary.md:\n" + "\n".join(wrong)
