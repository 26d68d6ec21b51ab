"""What was given for each setting, and where, before it is read.

Three layers are laid over one another: the file, the environment, the command line; the
last one that names a setting wins. Here are the values that pass between the steps of
loading, and the list in which all mistakes are gathered.

Called by: config.gather, config.overrides, config.build, config.checks.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from postroom.config.kinds import Place
from postroom.config.positions import Path as KeyPath

MISTAKES_MAX = 100
"""Mistakes that are listed; more help nobody."""


class Name(NamedTuple):
    """The name of a setting: its table, the name of the table ("" if it has none), itself."""

    table: str
    instance: str
    setting: str

    def __str__(self) -> str:
        return ".".join(part for part in self if part)


@dataclass(frozen=True, slots=True)
class Origin:
    """A source of settings: `text` names it; a file also has lines and a directory."""

    text: str
    place: Place
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """Return "FILE:LINE" of the nearest known ancestor, or what names the origin."""
        for length in range(len(path), 0, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return f"{self.text}:{line}"
        return self.text


@dataclass(frozen=True, slots=True)
class Given:
    """What was given for one setting."""

    value: object
    origin: Origin
    path: KeyPath = ()

    @property
    def source(self) -> str:
        """Where it was given."""
        return self.origin.where(self.path)

    def where(self, at: KeyPath) -> str:
        """Where an element of the value stands."""
        return self.origin.where((*self.path, *at))


class Mistakes:
    """All that is wrong, in the order of the file."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[str, int]] = {}

    def add(self, where: str, name: object, text: str) -> None:
        """Note a mistake about a setting ("" for none)."""
        about = f"{name}: " if str(name) else ""
        origin, _, line = where.rpartition(":")
        order = (origin, int(line)) if line.isdigit() else (where, 0)
        self._lines.setdefault(f"{where}: {about}{text}", order)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __str__(self) -> str:
        lines = sorted(self._lines, key=lambda line: self._lines[line])
        if len(lines) > MISTAKES_MAX:
            lines[MISTAKES_MAX:] = [f"and {len(lines) - MISTAKES_MAX} more"]
        return "\n".join(lines)


@dataclass(slots=True)
class Gathered:
    """Everything that was given: the settings, and the named tables in their order."""

    mistakes: Mistakes = field(default_factory=Mistakes)
    warnings: list[str] = field(default_factory=list)
    settings: dict[Name, Given] = field(default_factory=dict)
    tables: dict[tuple[str, str], str] = field(default_factory=dict)

    def where(self, name: Name) -> str:
        """Return where a setting was given, else its table, else "default"."""
        given = self.settings.get(name)
        return given.source if given else self.tables.get((name.table, name.instance), "default")

    def instances(self, table: str) -> list[str]:
        """Return the names of the tables of one kind, in order."""
        return [instance for kind, instance in self.tables if kind == table]
