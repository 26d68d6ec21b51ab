"""What differs between two configurations, and what of it a reload cannot change.

Called by: supervisor, cli.  Raises: nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from postroom.config.model import Config
from postroom.config.render import Shown, settings_of

_RESTART_TABLES = ("listen",)
"""Named tables that come and go only by a restart: they hold sockets."""


class Change(msgspec.Struct, frozen=True):
    """One setting that differs; values as a file would have them, None where it is not.

    `restart` says that a running server keeps the old value until it is started again.
    """

    name: str
    old: Any
    new: Any
    restart: bool

    def __str__(self) -> str:
        text = f"{self.name}: {_said(self.old)} -> {_said(self.new)}"
        return f"{text} (needs a restart)" if self.restart else text


def diff(old: Config, new: Config) -> tuple[Change, ...]:
    """Return every setting that differs, in the order of the tables, removed ones last."""
    before = {shown.name: shown for shown in settings_of(old)}
    after = {shown.name: shown for shown in settings_of(new)}
    changes = []
    for name in [*after, *(name for name in before if name not in after)]:
        was, is_now = before.get(name), after.get(name)
        old_value, new_value = _value(was), _value(is_now)
        if old_value != new_value:
            restart = _needs_restart(was, is_now)
            changes.append(Change(name, old_value, new_value, restart))
    for table, old_order, new_order in (
        ("channel", [one.name for one in old.channels], [one.name for one in new.channels]),
        ("class", [one.name for one in old.classes], [one.name for one in new.classes]),
        ("tenant", [one.name for one in old.tenants], [one.name for one in new.tenants]),
        ("group", [one.name for one in old.groups], [one.name for one in new.groups]),
    ):
        if old_order != new_order and set(old_order) == set(new_order):
            changes.append(Change(table, old_order, new_order, False))
    return tuple(changes)


def _needs_restart(was: Shown | None, is_now: Shown | None) -> bool:
    shown = is_now or was
    assert shown is not None
    appears = was is None or is_now is None
    return shown.setting.restart or (appears and shown.table.name in _RESTART_TABLES)


def _value(shown: Shown | None) -> Any:
    return shown.plain if shown else None


def _said(value: Any) -> str:
    return "not there" if value is None else str(value)
