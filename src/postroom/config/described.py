"""A setting described for people: its heading, its full name, its default and its unit.

Called by: cli.manual_settings, tools/make_settings.py.  Raises: nothing.
"""

from __future__ import annotations

from postroom.config.delivery_settings import ROUTES
from postroom.config.kinds import toml
from postroom.config.measures import Duration, Size
from postroom.config.setting import Setting, Table, default_of


def heading_of(table: Table) -> str:
    """Return how a table is written in a file, in backticks; the one without name in words."""
    if not table.name:
        return "General settings"
    return f"`[{table.name}.NAME]`" if table.named else f"`[{table.name}]`"


def prefix_of(table: Table) -> str:
    """Return what stands before the name of a setting: "channel.NAME."."""
    return f"{table.name}.NAME." if table.named else f"{table.name}." if table.name else ""


def default_text(table: Table, setting: Setting) -> str:
    """Return what holds where a setting is not in the file."""
    if setting.default:
        return setting.default
    policy = ROUTES[setting.types[0]] if setting.types else table.policy
    value = default_of(policy, setting)
    if value is None:
        # What may be "none" is without a bound where nothing is said.
        optional = '"none"' in setting.kind.expected
        return '`"none"`: no limit' if optional else "none: it must be set"
    plain = [] if value == () else setting.kind.plain(value)
    return f"`{toml(plain)}`"


def unit_text(setting: Setting) -> str:
    """Return the unit of a number that stands without one, "" where there is none."""
    if isinstance(setting.kind, Duration):
        return "seconds"
    return "octets" if isinstance(setting.kind, Size) else ""
