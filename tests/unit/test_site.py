"""The documentation as a site: links that are turned, the navigation, and what is never loaded."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tools import make_site

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ROOT / ".venv" / "docs" / "bin" / "python"


def test_links_are_turned_to_where_pages_lie_on_the_site() -> None:
    where = make_site.places()
    text = "[a](../README.md#start) [b](limits.md) ![c](../images/x.svg) [d](https://example.org)\n"
    turned = make_site.staged(text, "docs/how-to/relays.md", where)
    example = make_site.staged("[x](examples/local.toml)", "docs/configuration.md", where)
    assert example == "[x](examples/local.toml)"
    # What is no page and no file of docs/ is named alone.
    assert turned == "[a](../index.md#start) [b](limits.md) c [d](https://example.org)\n"
    from_front = make_site.staged("[x](docs/queue.md) [y](LICENSE)", "README.md", where)
    assert from_front == "[x](../queue.md) y"
    code = "```\n[x](docs/queue.md)\n```\n"
    assert make_site.staged(code, "README.md", where) == code


def test_every_page_is_in_the_navigation_once() -> None:
    front = (ROOT / make_site.FRONT).read_text("utf-8")
    trees = make_site.navigation(make_site.staged(front, make_site.FRONT, make_site.places()))
    named = re.findall(r"^(?:.* <)?([\w/-]+\.md)>?$", trees, re.M)
    pages = set(make_site.places().values()) - {"index.md"}
    assert sorted(named) == sorted(pages)


def test_resources_of_other_hosts_are_found_and_links_are_not(tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text(
        '<a href="https://example.org">x</a><script src="_static/x.js"></script>'
        '<link rel="stylesheet" href="a.css"/><link rel="canonical" href="https://a.example"/>'
    )
    assert make_site.foreign_resources(tmp_path) == []
    for number, text in enumerate(
        (
            '<script async src="https://cdn.example/x.js">',
            '<img alt="" src="//cdn.example/x.png">',
            '<link href="https://fonts.example/x.css" rel="stylesheet">',
            '<style>@import url("https://fonts.example/x.css")</style>',
            "<style>a { background: url(https://cdn.example/x.png) }</style>",
        )
    ):
        (tmp_path / f"bad{number}.html").write_text(text)
        assert len(make_site.foreign_resources(tmp_path)) == number + 1, text


@pytest.mark.timeout(200)
def test_the_site_is_made_without_a_broken_link_and_loads_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    if not GENERATOR.exists():
        pytest.skip("the generator is not installed: 'make docs' installs it")
    done = subprocess.run(
        [str(GENERATOR), "tools/make_site.py", "--output", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "searchindex.js").stat().st_size > 10_000
    page = (tmp_path / "site" / "tutorial.html").read_text("utf-8")
    assert 'id="the-relay-is-down"' in page and "how-to/limits.html" in page
