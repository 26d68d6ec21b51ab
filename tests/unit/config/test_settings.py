"""The table of settings agrees with the policies, the reference and the examples."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroom.config.delivery_settings import ROUTES
from postroom.config.gather import gather_text
from postroom.config.given import Gathered
from postroom.config.kinds import Place, toml
from postroom.config.loader import load_text
from postroom.config.setting import Setting, Table, default_of
from postroom.config.settings import TABLES
from postroom.core.errors import ConfigurationError
from tools import make_settings

EXAMPLES = sorted((make_settings.ROOT / "docs" / "examples").glob("*.toml"))
PLACE = Place(Path("/"), "/home/user")
ALL = [
    pytest.param(table, setting, id=f"{table.name}.{setting.name}")
    for table in TABLES
    for setting in table.settings
]
# Filled otherwise: the name of the table, what config notes down, tables of their own.
NOT_SETTINGS = {
    "name", "origin", "generation", "source", "is_suspended", "server",
    *("spool", "listen", "routes", "channels", "sources", "groups", "classes", "scaling", "policy"),
    *("resolver", "delivery", "log", "console", "limits", "tenants", "warmups", "plan"),
    *("replies", "reply_rules"),
    *("resolver", "delivery", "log", "limits", "tenants", "warmups", "plan"),
    *("replies", "reply_rules", "events", "webhooks"),
}  # fmt: skip


def policies(table: Table) -> list[type[Any]]:
    """The structs that a table fills."""
    return list(ROUTES.values()) if table.name == "route" else [table.policy]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_field_of_every_policy_is_filled_by_a_setting(table: Table) -> None:
    outer = {setting.field.partition(".")[0] for setting in table.settings}
    for policy in policies(table):
        fields = {known.name for known in msgspec.structs.fields(policy)}
        assert fields - NOT_SETTINGS <= outer, policy


@pytest.mark.parametrize(("table", "setting"), ALL)
def test_an_example_is_accepted(table: Table, setting: Setting) -> None:
    value = tomllib.loads(f"value = {setting.example}")["value"]
    setting.kind.read(value, PLACE)


@pytest.mark.parametrize(("table", "setting"), ALL)
def test_what_is_written_reads_as_the_same_value(table: Table, setting: Setting) -> None:
    example = tomllib.loads(f"value = {setting.example}")["value"]
    values = [setting.kind.read(example, PLACE)]
    if setting.field:
        for policy in [ROUTES[kind] for kind in setting.types] or [table.policy]:
            default = default_of(policy, setting)
            values += [default] if default not in (None, "") else []
    for value in values:
        written = tomllib.loads(f"value = {toml(setting.kind.plain(value))}")["value"]
        assert setting.kind.read(written, PLACE) == value


@pytest.mark.parametrize(("table", "setting"), ALL)
def test_wrong_types_are_refused_and_never_break_anything(table: Table, setting: Setting) -> None:
    header = f"[{table.name}.{'default' if table.named else ''}".rstrip(".") + "]"
    for wrong in ("{ a = 1 }", "nan", "-inf", "1979-05-27", "[[]]", "[{}]", '"\\u0000"', "1e400"):
        text = f"{header if table.name else ''}\n{setting.name} = {wrong}\n"
        with pytest.raises(ConfigurationError):
            load_text(text, Path("f.toml"), {"HOME": "/h"}, {})


def test_the_reference_is_current() -> None:
    assert make_settings.current(), "run: tools/make_settings.py --write"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_file_is_valid(path: Path) -> None:
    loaded = load_text(path.read_text(), path, {"HOME": "/h"}, {}, files=False)
    ours = [warning for warning in loaded.warnings if "has no domain" not in warning]
    assert not ours


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


def test_names_of_later_versions_are_refused_as_such() -> None:
    gathered = Gathered()
    text = "[spool]\ngroups = 2\n[cluster]\na = 1\n[channel.x]\ngroup = 'a'"
    gather_text(text, "f", PLACE, gathered)
    lines = str(gathered.mistakes).splitlines()
    assert len(lines) == 3
    assert all("not in this version yet" in line for line in lines)
