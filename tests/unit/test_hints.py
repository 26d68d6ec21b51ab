"""What an error or a hint tells somebody to type is a command line that the parser knows.

Every text in the source, but for docstrings, is searched for `postroom WORD …`.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.cli.main import OWN_PARSERS
from postroom.cli.parser import build_parser
from postroom.cli.sendmail_options import UsageError, parse_options
from postroom.sink.command import add_arguments

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "postroom"
COMMAND_LINE = re.compile(r"\bpostroom((?: [\w{}|=*./:'\"-]+)+)")
IN_CODE = re.compile(r"^```.*?^```|`[^`]+`", re.M | re.S)
PLACEHOLDER = "{}"
# Sentences in which the name of the program stands before another word.
PROSE = re.compile(r"postroom (?:for|commands)\b")


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Give (line, text) of the texts of a module, docstrings left out."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
            parts = [
                str(part.value) if isinstance(part, ast.Constant) else PLACEHOLDER
                for part in node.values
            ]
            yield node.lineno, "".join(parts)
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in skipped:
            yield node.lineno, node.value


def command_lines() -> list[tuple[str, list[str]]]:
    """Return (place, words behind `postroom`) of every command line that is named in a text."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name == "shells.py":
            continue  # scripts, which are run by tests
        for line, text in _texts(path):
            text = " ".join(text.split())
            for match in COMMAND_LINE.finditer(PROSE.sub("", text)):
                place = f"{path.relative_to(SOURCE)}:{line}: postroom{match[1]}"
                found.append((place, match[1].split()))
    return found


def unknown(words: list[str]) -> str:
    """Return what the parser does not know of a command line, "" where it knows all of it."""
    parser, path = build_parser(), ["postroom"]
    rest = list(words)
    while rest:
        word = rest.pop(0)
        options = parser._option_string_actions
        below = next(
            (a for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None
        )
        if word.startswith("--"):
            name, has_value, _ = word.partition("=")
            if name not in options:
                return f"{' '.join(path)} has no option {name}"
            if options[name].nargs != 0 and not has_value and rest:
                rest.pop(0)
        elif below is not None and re.fullmatch(r"[a-z][a-z-]*", word):
            if word not in below.choices:
                if below.required:
                    return f"{' '.join(path)} has no command {word}"
                return ""
            parser = below.choices[word]
            path.append(word)
            if word in OWN_PARSERS:
                return _unknown_of_own(word, rest)
        else:
            return ""
    return ""


def _unknown_of_own(command: str, words: list[str]) -> str:
    if command == "sink":
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        known = parser._option_string_actions
        return next(
            (f"sink has no option {w}" for w in words if w[:2] == "--" and w not in known), ""
        )
    try:
        parse_options(words)
    except UsageError as error:
        return str(error)
    return ""


def test_every_command_line_in_a_hint_is_known() -> None:
    named = command_lines()
    assert len(named) > 40, "hints are found at all"
    wrong = [f"{place}: {problem}" for place, words in named if (problem := unknown(words))]
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_command_line_in_the_documents_is_known() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    wrong, number = [], 0
    for page in sorted(pages):
        if page.name == "roadmap.md":
            continue  # it names what is planned
        for code in IN_CODE.findall(page.read_text("utf-8")):
            for line in code.strip("`").splitlines():
                if not (match := re.match(r"(?:\$ )?postroom ([^|;&>#]+)", line)):
                    continue
                number += 1
                if problem := unknown(match[1].split()):
                    wrong.append(f"{page.relative_to(ROOT)}: {line.strip()}: {problem}")
    assert number > 200 and not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("mail list --limit 3", ""),
        ("mail find all", "postroom mail has no command find"),
        ("restart", "postroom has no command restart"),
        ("mail hold --why x", "postroom mail hold has no option --why"),
        ("--config x.toml check", ""),
        ("sink --reply 5", "sink has no option --reply"),
        ("sendmail -bs", ""),
    ],
)
def test_what_is_unknown_is_noticed(line: str, problem: str) -> None:
    assert unknown(line.split()) == problem
