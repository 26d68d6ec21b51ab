"""What the documentation says exists: files, headings, make targets and commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from postroom.cli.parser import build_parser
from postroom.config.loader import load_text
from postroom.core.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)
TARGET = re.compile(r"^([a-z-]+):", re.M)
CODE = re.compile(r"^```.*?^```", re.M | re.S)

# Nothing here may tell on which machine it was written, or where packages come from.
# The words are put together so that this file does not hold them.
TRACES = tuple(
    "".join(parts)
    for parts in (
        ("/wo", "rk/"), ("/ro", "ot/"), ("/opt/", "py", "pi"), ("/opt/", "whe", "els"),
        ("py", "pi.org"), ("python", "hosted"), ("index", "-url"), ("find", "-links"),
        (".py", "env/"),
    )
)  # fmt: skip


def _tracked() -> list[Path]:
    """Return the files that a clone would hold (and new ones not ignored)."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git clone: run this in one")
    return [ROOT / name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


def _documents() -> list[Path]:
    return [path for path in _tracked() if path.suffix == ".md"]


def _anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as code forges make them."""
    text = CODE.sub("", path.read_text("utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(text)
    }


def test_links_between_documents_lead_somewhere() -> None:
    wrong = []
    for page in _documents():
        for link in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name) if name else page
            if not target.exists():
                wrong.append(f"{page.relative_to(ROOT)}: {link} does not exist")
            elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
                wrong.append(f"{page.relative_to(ROOT)}: {link} names no heading there")
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_make_command_in_the_documents_is_a_target() -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text("utf-8")))
    # Code only: prose may well "make sure".
    named = re.compile(r"`make ([a-z-]+)|^(?:\$ )?make ([a-z-]+)", re.M)
    wrong = []
    for page in _documents():
        for pair in named.findall(page.read_text("utf-8")):
            name = pair[0] or pair[1]
            in_code = pair[0] or any(f"make {name}" in c for c in _code_blocks(page))
            if in_code and name not in targets:
                wrong.append(f"{page.relative_to(ROOT)}: make {name}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_postroom_command_in_the_documents_exists() -> None:
    listing = build_parser().format_help().partition("options:")[0]
    commands = set(re.findall(r"^    ([a-z-]+)", listing, re.M))
    assert {"serve", "mail", "sink"} <= commands
    named = re.compile(r"(?:^|`)(?:\$ )?postroom (?:--config \S+ )?([a-z][a-z-]*)", re.M)
    wrong = []
    for page in _documents():
        # What is planned is on the roadmap, and does not exist.
        if page.name == "roadmap.md":
            continue
        for command in named.findall(page.read_text("utf-8")):
            if command not in commands:
                wrong.append(f"{page.relative_to(ROOT)}: postroom {command}")
    assert not wrong, "\n" + "\n".join(wrong)


def _code_blocks(page: Path) -> list[str]:
    return CODE.findall(page.read_text("utf-8"))


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in LINK.findall(index)}
    pages = {path for path in _documents() if path.is_relative_to(ROOT / "docs")}
    wrong = sorted(str(path.relative_to(ROOT)) for path in pages - linked)
    wrong = [name for name in wrong if name != "docs/README.md"]
    assert not wrong, f"not linked from docs/README.md: {wrong}"


def test_modules_that_the_architecture_names_exist() -> None:
    text = (ROOT / "docs" / "design" / "architecture.md").read_text("utf-8")
    # Places elsewhere are named from the top: src/…, tests/….
    named = set(re.findall(r"`((?!src/|tests/)[a-z_]+/[a-z_/]*(?:\.py)?)`", text))
    assert len(named) > 20
    wrong = sorted(name for name in named if not (ROOT / "src" / "postroom" / name).exists())
    assert not wrong, f"not below src/postroom: {wrong}"


def test_configurations_in_the_documents_are_valid() -> None:
    wrong = []
    for page in _documents():
        for block in re.findall(r"^```toml\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
            try:
                load_text(block, page, {"HOME": "/nonexistent"}, {}, files=False)
            except ConfigurationError as error:
                wrong.append(str(error))
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_file_tells_where_it_was_made() -> None:
    wrong = []
    for path in _tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if any(trace in line for trace in TRACES):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not wrong, "\n" + "\n".join(wrong)
