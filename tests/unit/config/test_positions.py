"""Every key, table and element has the line on which it stands."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.config.kinds import toml
from postroom.config.positions import Path, locate


def paths_of(value: Any, path: Path = ()) -> list[Path]:
    """Every path of a tree that tomllib made."""
    paths: list[Path] = [path] if path else []
    children = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        children = enumerate(value)  # type: ignore[assignment]
    for key, child in children:
        paths.extend(paths_of(child, (*path, key)))
    return paths


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("\n\n# [x]\n[x]\ny = 1", ("x",), 4),
        ("\n\n# [x]\n[x]\ny = 1", ("x", "y"), 5),
        ("a.b = 1\na.c = 2", ("a",), 1),
        ("a.b = 1\na.c = 2", ("a", "c"), 2),
        ("[a.b]\nc.d = 1", ("a", "b", "c", "d"), 2),
        ("[a.b]\nx = 1\n[a]\ny = 2", ("a",), 3),
        ('["a.b"]\n"c d" = 1', ("a.b", "c d"), 2),
        ("['a.b']\n'c\"d' = 1", ("a.b", 'c"d'), 2),
        ('"\\u00e9" = 1\n"x\\"y" = 2', ("é",), 1),
        ('"\\u00e9" = 1\n"x\\"y" = 2', ('x"y',), 2),
        ("[ a . b ]\n c . d = 1", ("a", "b", "c", "d"), 2),
        ("a = [\n 1,\n # no\n 2,\n]\nb = 1", ("a", 1), 4),
        ("a = [\n 1,\n # no\n 2,\n]\nb = 1", ("b",), 6),
        ("a = [[1], [\n2]]\nb = 1", ("a", 1, 0), 2),
        ('a = ["]", "#", """\n]""",\n3]\nb = 1', ("a", 3), 3),
        ("a = { b = 1, c = { d = 2 } }", ("a", "c", "d"), 1),
        ("a = [ { h = 1 },\n { h = 2 } ]", ("a", 1, "h"), 2),
        ("a = { b = [\n1,\n2] }\nc = 1", ("a", "b", 1), 3),
        ("[[a]]\nx = 1\n[[a]]\nx = 2", ("a",), 1),
        ("[[a]]\nx = 1\n[[a]]\nx = 2", ("a", 1), 3),
        ("[[a]]\nx = 1\n[[a]]\nx = 2", ("a", 1, "x"), 4),
        ("[[a]]\n[a.b]\nx = 1\n[[a]]\n[a.b]\nx = 2", ("a", 1, "b", "x"), 6),
        ("[[a.b]]\n[[a.b.c]]\nx = 1\n[[a.b.c]]\nx = 2", ("a", "b", 0, "c", 1, "x"), 5),
        ('a = """\n[x]\nb = 1\n"""\nb = 2', ("b",), 5),
        ("a = '''\n[x]\nb = 1\n'''\nb = 2", ("b",), 5),
        ('a = """x\\""""\nb = 2', ("b",), 2),
        ('a = """x"""""\nb = 2', ("b",), 2),
        ("a = '''x'''''\nb = 2", ("b",), 2),
        ('a = """"x" ""y"""\nb = 2', ("b",), 2),
        ('a = "\\\\"\nb = 2', ("b",), 2),
        ('a = "# = [" # "\nb = 2', ("b",), 2),
        ("a = 'C:\\'\nb = 2", ("b",), 2),
        ("a = 1979-05-27 07:32:00Z # x\nb = 2", ("b",), 2),
        ("a = 1\r\nb = [\r\n2]\r\nc = 3\r\n", ("c",), 4),
        ("a = 1\r\nb = [\r\n2]\r\nc = 3\r\n", ("b", 0), 3),
        ("a = [ ]\nb = { }\nc = 1", ("c",), 3),
        ("a = [1,\n]\nb = 1", ("b",), 3),
        ("1.2 = 3\n\n1.3 = 4", ("1", "3"), 3),
        ('"" = 1\n"a"."" = 2', ("a", ""), 2),
    ],
)
def test_a_path_has_the_line_where_it_stands(text: str, path: Path, line: int) -> None:
    assert set(paths_of(tomllib.loads(text))) <= set(locate(text))
    assert locate(text)[path] == line


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f\r"), max_size=6)
SCALARS = (
    st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=12)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def written(value: Any, breaks: str) -> str:
    """A value as TOML, arrays broken over lines."""
    if isinstance(value, list):
        return "[" + ",".join(breaks + written(element, breaks) for element in value) + breaks + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{toml(key)} = {written(v, breaks)}" for key, v in value.items())
        return "{ " + inner + " }"
    return toml(value)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.sampled_from([" ", "\n", " # ] }\n", "\r\n"]))
def test_every_path_of_any_document_is_found_in_order(tree: dict[str, Any], breaks: str) -> None:
    text, lines = "", {}
    for key, value in tree.items():
        if isinstance(value, dict):
            continue
        lines[(key,)] = text.count("\n") + 1
        text += f"{toml(key)} = {written(value, breaks)}\n"
    for key, value in tree.items():
        if isinstance(value, dict):
            lines[(key,)] = text.count("\n") + 1
            text += f"[{toml(key)}] # here\n"
            for inner, inner_value in value.items():
                lines[(key, inner)] = text.count("\n") + 1
                text += f"\t{toml(inner)}= {written(inner_value, breaks)}\n"
    found = locate(text)
    assert set(paths_of(tomllib.loads(text))) <= set(found)
    assert {path: found[path] for path in lines} == lines


@given(st.text(st.sampled_from("ab=.[]{}\"'\\#,\n 1\r"), max_size=30))
def test_whatever_tomllib_accepts_is_located(text: str) -> None:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(paths_of(tree)) <= set(locate(text))
