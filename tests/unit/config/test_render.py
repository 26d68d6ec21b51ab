"""Printing a configuration, and telling two apart."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from postroom.config.changes import diff
from postroom.config.loader import load_text
from postroom.config.model import Config
from postroom.config.render import as_json, as_toml
from tools.make_settings import ROOT

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.toml"))


def load(text: str, path: Path = Path("/d/f.toml")) -> Config:
    return load_text(text, path, {"HOME": "/h"}, {}, files=False).config


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_is_printed_can_be_loaded_and_means_the_same(path: Path) -> None:
    loaded = load_text(path.read_text(), path, {"HOME": "/h"}, {}, files=False)
    again = load(as_toml(loaded.config, loaded.sources))
    assert not diff(loaded.config, again)
    assert msgspec.structs.replace(
        loaded.config, source="", channels=(), groups=(), classes=()
    ) == (msgspec.structs.replace(again, source="", channels=(), groups=(), classes=()))
    packed = msgspec.msgpack.encode(loaded.config)
    assert msgspec.msgpack.decode(packed, type=Config) == loaded.config


def test_every_value_says_where_it_came_from() -> None:
    environ = {"HOME": "/h", "QUEUE_START": "2"}
    loaded = load_text("[spool]\ncount = 3", Path("f.toml"), environ, {"spool.sync": "none"})
    lines = as_toml(loaded.config, loaded.sources).splitlines()
    said = [" ".join(line.split()) for line in lines]
    assert "count = 3 # f.toml:2" in said
    assert "start = 2 # environment QUEUE_START" in said
    assert 'sync = "none" # command line' in said
    assert 'reserve = "64 MiB" # default' in said
    values = as_json(loaded.config, loaded.sources)
    assert json.loads(json.dumps(values)) == values
    assert values["spool.count"] == {"value": 3, "source": "f.toml:2"}


def test_every_source_belongs_to_a_printed_setting() -> None:
    for path in EXAMPLES:
        loaded = load_text(path.read_text(), path, {"HOME": "/h"}, {}, files=False)
        assert set(as_json(loaded.config, loaded.sources)) == set(loaded.sources)


def test_a_password_is_never_printed(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("geheim")
    (tmp_path / "p").chmod(0o600)
    text = '[route.default]\ntype="relay"\nhost="x"\nuser="u"\npassword_file="p"'
    loaded = load_text(text, tmp_path / "f.toml", {"HOME": "/h"}, {})
    assert "geheim" not in as_toml(loaded.config, loaded.sources)
    assert "geheim" not in repr(loaded)


def test_a_difference_says_whether_it_needs_a_restart() -> None:
    old = load('[listen.smtp]\nerrors_max = 3\n[channel.a]\nmatch = "a.b"')
    new = load('[spool]\ncount = 4\n[listen.smtp]\nerrors_max = 4\n[listen.b]\naddress="[::1]:1"')
    changes = {change.name: change for change in diff(old, new)}
    assert changes["spool.count"].restart
    assert str(changes["spool.count"]) == "spool.count: 2 -> 4 (needs a restart)"
    assert not changes["listen.smtp.errors_max"].restart
    assert changes["listen.b.errors_max"].restart
    assert changes["channel.a.match"].new is None
    assert not changes["channel.a.match"].restart
    assert not diff(old, old)


def test_the_order_of_channels_is_a_difference() -> None:
    one, two = '[channel.a]\nmatch="a.b"\n', '[channel.b]\nmatch="*.b"\n'
    (change,) = diff(load(one + two), load(two + one))
    assert change.name == "channel"
