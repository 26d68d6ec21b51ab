"""Make the documentation a site: `make docs`, in build/site.

The pages are those of docs/, and a few from elsewhere in the tree (README, CHANGELOG ...). They
are copied to build/pages with their links turned to where they lie there; docs/README.md becomes
the front page, and its lists the navigation. Then Sphinx builds them (docs/site/conf.py), and a
link or an anchor that leads nowhere is an error. In the end every page is searched for resources
of other hosts: there may be none.

    python tools/make_site.py [--output DIR]

Exits 0, or 1 with what is wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CONFIGURATION = DOCS / "site"

FROM_ELSEWHERE = {
    "README.md": "project/readme.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "bench/README.md": "project/benchmarks.md",
}
"""Pages outside docs/, and where they lie on the site."""

FRONT = "docs/README.md"
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```[^\n]*\n?)", re.M | re.S)
SECTION = re.compile(r"^(##+) (.+)$")
ITEM = re.compile(r"^- \[([^\]]+)\]\(([^)#\s]+\.md)\)")
# What a page would load by itself. Links that a reader follows may lead anywhere.
FOREIGN = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["'](?:https?:)?//[^"']+"""
    r"""|<link\b(?=[^>]*rel=["'](?:stylesheet|preload|icon|preconnect|dns-prefetch))[^>]*"""
    r"""\bhref=["'](?:https?:)?//[^"']+"""
    r"""|@import\s+(?:url\()?["']?(?:https?:)?//[^"')]+|url\(["']?(?:https?:)?//[^"')]+""",
    re.I,
)


def places() -> dict[str, str]:
    """Return where each page of the repository lies on the site."""
    found = {
        str(path.relative_to(ROOT)): str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")
    }
    return {**found, FRONT: "index.md", **FROM_ELSEWHERE}


def staged(text: str, source: str, where: Mapping[str, str]) -> str:
    """Return the text of a page with its links as they are on the site.

    A file of docs/ (an example, a picture) is linked, to be downloaded. What is neither, as a file
    of code, is named and not linked.
    """

    def turned(match: re.Match[str]) -> str:
        bang, shown, link = match.groups()
        if re.match(r"[a-z]+:", link) or link.startswith("#"):
            return match[0]
        name, mark, anchor = link.partition("#")
        target = os.path.normpath(str(PurePosixPath(source).parent / name))
        if target in where:
            new = os.path.relpath(where[target], PurePosixPath(where[source]).parent)
        elif target.startswith("docs/") and (ROOT / target).is_file():
            place = target.removeprefix("docs/")
            new = os.path.relpath(place, PurePosixPath(where[source]).parent)
        else:
            return str(shown)
        return f"{bang}[{shown}]({new}{mark}{anchor})"

    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(turned, part) for part in parts)


def navigation(front: str) -> str:
    """Return the trees of contents that follow from the lists of the front page."""
    trees: list[tuple[str, list[str]]] = []
    above = ""
    for line in front.splitlines():
        if heading := SECTION.match(line):
            name = heading[2]
            above = name if heading[1] == "##" else above
            trees.append((name if heading[1] == "##" else f"{above}: {name.lower()}", []))
        elif (item := ITEM.match(line)) and trees:
            # A title in the navigation is plain text.
            title = item[1].replace("`", "")
            trees[-1][1].append(f"{title} <{item[2]}>")
    trees.append(("The project", list(FROM_ELSEWHERE.values())))
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n:maxdepth: 1\n\n"
        + "\n".join(entries)
        + "\n```\n"
        for caption, entries in trees
        if entries
    )


def stage(directory: Path) -> int:
    """Write all pages below a directory; return how many."""
    shutil.rmtree(directory, ignore_errors=True)
    where = places()
    for source, place in where.items():
        text = staged((ROOT / source).read_text("utf-8"), source, where)
        if source == FRONT:
            text += navigation(text)
        target = directory / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    # Pictures, examples, and whatever else pages lead to.
    for path in DOCS.rglob("*"):
        if path.is_file() and path.suffix != ".md" and not path.is_relative_to(CONFIGURATION):
            target = directory / path.relative_to(DOCS)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return len(where)


def foreign_resources(site: Path) -> list[str]:
    """Return what pages and styles of a site load from other hosts."""
    found = []
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.svg")]):
        for match in FOREIGN.finditer(path.read_text("utf-8", "replace")):
            found.append(f"{path.relative_to(site)}: {match[0][:120]}")
    return found


def main() -> int:
    """Stage, build, look."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site", metavar="DIR")
    options = parser.parse_args()
    pages = options.output.parent / "pages"
    number = stage(pages)
    shutil.rmtree(options.output, ignore_errors=True)
    command = [
        sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "-b", "html",
        "-c", str(CONFIGURATION), "-d", str(options.output.parent / "doctrees"),
        str(pages), str(options.output),
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode:
        print("the site was not made: see above; pages are named as they lie in", pages)
        return 1
    foreign = foreign_resources(options.output)
    if foreign:
        print("resources of other hosts:", *foreign, sep="\n  ")
        return 1
    print(f"{number} pages: open {options.output / 'index.html'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
