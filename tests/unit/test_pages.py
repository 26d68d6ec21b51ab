"""The files of the web pages: what they may not hold, and that a wheel has them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "src" / "postroom" / "console" / "static"
LINES_MAX = 400
FILES = sorted(path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".html"))
BANNED = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(",
    "new Function", "srcdoc", "createContextualFragment", "setHTMLUnsafe",
)  # fmt: skip


def test_text_never_becomes_markup_or_code() -> None:
    wrong = [
        f"{path.name}: {word}"
        for path in FILES
        for word in BANNED
        if word in path.read_text("utf-8")
    ]
    assert not wrong


def test_nothing_comes_from_another_host_and_no_script_or_style_stands_in_the_page() -> None:
    for path in FILES:
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|url\((?!#)|@import|src=\"//", text), path.name
    page = (STATIC / "index.html").read_text("utf-8")
    assert not re.search(r"<style|style=|<script>| on[a-z]+=", page)


def test_the_page_names_every_file_that_there_is() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    named = set(re.findall(r'(?:href|src)="/static/([^"]+)"', page))
    there = {path.relative_to(STATIC).as_posix() for path in FILES if path.suffix != ".html"}
    assert named - {"icon.svg"} == there


def test_every_module_is_small_and_says_what_it_is() -> None:
    for path in FILES:
        text = path.read_text("utf-8")
        assert text.count("\n") <= LINES_MAX, path.name
        if path.suffix == ".js":
            assert text.startswith("// "), path.name


def test_every_colour_is_a_token() -> None:
    for path in STATIC.rglob("*.css"):
        if path.name != "tokens.css":
            found = re.findall(r"#[0-9a-f]{6}\b", path.read_text("utf-8"))
            assert not found, (path.name, found)


def test_a_wheel_has_the_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(_copy(tmp_path))]
    subprocess.run(command, check=True, capture_output=True, timeout=110)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = {
        f"postroom/console/static/{path.relative_to(STATIC).as_posix()}" for path in FILES
    } - names
    assert not missing


def _copy(tmp_path: Path) -> Path:
    """Copy what a wheel is made of: setuptools writes beside it."""
    import shutil

    to = tmp_path / "source"
    to.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to / name)
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", to / "src", ignore=skip)
    return to
