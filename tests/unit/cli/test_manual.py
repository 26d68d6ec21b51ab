"""The manual pages: one for every command, well-formed, with examples that work."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from postroom import __version__
from postroom.cli.manual import pages, run, write
from postroom.cli.manual_examples import EXAMPLES
from postroom.cli.output import CommandFailed
from postroom.cli.parser import build_parser
from postroom.cli.roff import literal, marked, sentence
from postroom.config.settings import TABLES
from tests.unit.test_hints import unknown
from tools import make_commands, make_man

ROOT = Path(__file__).parents[3]


def test_nothing_in_a_text_is_taken_for_a_macro() -> None:
    assert literal(".SH x\\y") == "\\&.SH x\\(rsy"
    assert marked("'x `--json` and a-b, at -1") == "\\&'x \\fB\\-\\-json\\fR and a-b, at \\-1"
    lines = marked(" ".join(["word"] * 30 + [".hidden"] * 30)).splitlines()
    assert all(len(line) <= 80 and not line.startswith(".") for line in lines)
    assert [sentence(text) for text in ("the end", "queue1, or 1", "as: ")] == [
        "The end.", "queue1, or 1.", "As: ."
    ]  # fmt: skip


def test_every_command_and_every_setting_is_in_a_page() -> None:
    known = {page.name: page.render() for page in pages()}
    for path, command in make_commands.commands(build_parser(), ()):
        text = known[f"postroom-{path[0]}"].replace("\\", "")
        assert path[0] == "sendmail" or f"postroom {' '.join(path)}" in text
        for action in command._actions:
            if action.help != argparse.SUPPRESS and action.dest != "help":
                assert all(option in text for option in action.option_strings), path
    text = known["postroom.toml"]
    for table in TABLES:
        for setting in table.settings:
            assert f"\\fB{literal(setting.name)}\\fR" in text, setting.name


def test_pages_are_well_formed(tmp_path: Path) -> None:
    paths = write(tmp_path, with_old_names=True)
    assert {path.name for path in paths} >= {"postroom.1", "postroom.toml.5", "mailq.1"}
    assert not re.search(r"^\.(?!\w\w)", (tmp_path / "man1" / "postroom.1").read_text(), re.M)
    found = make_man.findings(paths)
    if found is None:
        pytest.skip(make_man.NO_LINTER)
    assert not found, "\n".join(found)


def test_whoever_looks_finds_a_mistake(tmp_path: Path) -> None:
    page = tmp_path / "x.1"
    page.write_text('.TH X 1 "2026-01-01"\n.SH NAME\nx \\- y\n.TPX\n.SH\n')
    found = make_man.findings([page])
    if found is None:
        pytest.skip(make_man.NO_LINTER)
    assert found


def test_examples_are_of_commands_that_are_there_and_lines_that_the_parser_takes() -> None:
    commands = set(next(iter(_choices())))
    assert set(EXAMPLES) - {""} <= commands
    lines = [line for examples in EXAMPLES.values() for _, line in examples]
    for line in lines:
        words = re.sub(r'^eval "\$\((.*)\)"$', r"\1", line).split()
        assert words[0] == "postroom" and not unknown(words[1:]), line


def _choices() -> list[list[str]]:
    return [
        list(action.choices) for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]  # fmt: skip


def test_the_same_moment_makes_the_same_octets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    texts = [[page.render() for page in pages()] for _ in range(2)]
    assert texts[0] == texts[1] and "2023-11-14" in texts[0][0]


def test_man_lists_shows_and_installs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def man(**words: object) -> str:
        given = {"page": "", "install": "", "old_names": False, **words}
        assert run(argparse.Namespace(**given)) == 0
        return capsys.readouterr().out

    assert "postroom-mail(1)\n" in man() and "postroom.toml(5)\n" in man()
    assert man(page="mail") == man(page="postroom-mail.1")
    assert man(page="mail").startswith('.TH "POSTROOM-MAIL" 1')
    with pytest.raises(CommandFailed, match="no page nothing"):
        man(page="nothing")
    said = man(install=str(tmp_path / "man"), old_names=True)
    assert said.endswith(f"pages are in {tmp_path / 'man'}\n")
    assert '"POSTROOM-SENDMAIL"' in (tmp_path / "man" / "man1" / "sendmail.1").read_text()
    (tmp_path / "file").touch()
    with pytest.raises(CommandFailed, match="Not a directory"):
        man(install=str(tmp_path / "file"))


def test_a_wheel_brings_the_pages(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    left_out = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=left_out)
    program = (
        "import os, sys; from setuptools import build_meta; "
        "print(build_meta.build_wheel(sys.argv[1]))"
    )
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, str(out)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next(out.glob("*.whl"))).namelist()
    man = f"postroom-{__version__}.data/data/share/man"
    assert f"{man}/man1/postroom.1" in names and f"{man}/man5/postroom.toml.5" in names
    assert "postroom/config/replies.toml" in names
