"""The short way to the spool's place ends where the long one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.config.base import find_base
from postroom.config.loader import load

SPOOL = '[spool]\nbase = "/srv//queues/"\ncount = 3\n'


@pytest.mark.parametrize(
    ("text", "environ", "overrides"),
    [
        (None, {}, {}),
        (None, {"XDG_STATE_HOME": "/state"}, {}),
        (None, {"XDG_STATE_HOME": "relative"}, {}),
        (SPOOL, {}, {}),
        ('spool.base = "/dotted"\n', {}, {}),
        (SPOOL, {"QUEUE_BASE": "/seed"}, {}),
        (SPOOL, {"QUEUE_BASE": ""}, {}),
        (SPOOL, {"QUEUE_BASE": "/seed", "POSTROOM_SPOOL_BASE": "/ours"}, {}),
        (SPOOL, {"POSTROOM_SPOOL_BASE": ""}, {}),
        (SPOOL, {"POSTROOM_SPOOL_BASE": "/ours"}, {"spool.base": "/line"}),
    ],
)
def test_the_base_is_the_one_of_the_whole_configuration(
    tmp_path: Path, text: str | None, environ: dict[str, str], overrides: dict[str, str]
) -> None:
    path = None
    if text is not None:
        path = tmp_path / "postroom.toml"
        path.write_text(text)
    # HOME has no file of its own; POSTROOM_CONFIG is read where no path is given.
    environ = {"HOME": str(tmp_path), **environ}
    named = {**environ, "POSTROOM_CONFIG": str(path)} if path is not None else environ
    expected = load(path, environ, overrides, files=False).config.spool.base
    assert find_base(path, environ, overrides) == expected
    assert find_base(None, named, overrides) == expected


@pytest.mark.parametrize(
    ("text", "environ", "overrides"),
    [
        ("", {}, {}),
        ('[spol]\nbase = "/srv/queues"\n', {}, {}),
        ('[spool]\nbsae = "/srv/queues"\n', {}, {}),
        ("[spool\n", {}, {}),
        ("spool = 1\n", {}, {}),
        ("[spool]\nbase = 1\n", {}, {}),
        ('[spool]\nbase = ""\n', {}, {}),
        ('[spool]\nbase = "beside"\n', {}, {}),
        ('[spool]\nbase = "~/mail"\n', {}, {}),
        ('[spool]\nbase = "/a\\nb"\n', {}, {}),
        ("", {"POSTROOM_SPOOL_BASE": "beside"}, {}),
        ("", {}, {"spool.base": ""}),
        ("", {}, {"spool.count": "4"}),
        ("", {}, {"spool.bases": "/x"}),
    ],
)
def test_what_is_not_plain_is_left_to_the_whole_configuration(
    tmp_path: Path, text: str, environ: dict[str, str], overrides: dict[str, str]
) -> None:
    path = tmp_path / "postroom.toml"
    path.write_text(text)
    assert find_base(path, {"HOME": str(tmp_path), **environ}, overrides) is None
    assert find_base(tmp_path / "missing.toml", {"HOME": str(tmp_path)}, {}) is None
