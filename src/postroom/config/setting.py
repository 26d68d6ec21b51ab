"""What a setting and a table of settings are.

A setting has a name as written in the file, a kind (what is accepted), the field of the
policy it fills, what it means, an example, and whether only a restart can change it.
Defaults are not repeated here: they are those of the policy structs.

Called by: config (all of it).  Raises: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from postroom.config.kinds import Kind


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `field` "tls.mode" is `mode` of the policy's `tls`.

    `default` is said in words where it is computed; else it is the policy's. `restart`
    names what a reload cannot change. `types` are the kinds of route that have it.
    """

    name: str
    kind: Kind
    field: str
    doc: str
    example: str
    default: str = ""
    restart: bool = False
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file, or one for each name where `named`."""

    name: str
    doc: str
    policy: type[Any]
    settings: tuple[Setting, ...]
    named: bool = False
    later: dict[str, str] = field(default_factory=dict)

    def setting(self, name: str) -> Setting | None:
        """Return the setting of this name."""
        return next((setting for setting in self.settings if setting.name == name), None)


def read_field(policy: Any, setting: Setting) -> Any:
    """Return what a policy holds for a setting."""
    value = policy
    for part in setting.field.split("."):
        value = getattr(value, part)
    return value


def default_of(policy: type[Any], setting: Setting) -> Any:
    """Return the default that a policy struct has for a setting, or None: it has none."""
    outer, _, inner = setting.field.partition(".")
    for known in msgspec.structs.fields(policy):
        if known.name == outer and known.default is not msgspec.NODEFAULT:
            return getattr(known.default, inner) if inner else known.default
    return None
