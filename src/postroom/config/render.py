"""The configuration in force, for people and for programs.

`as_toml` writes a whole file: every setting with its value and, as a comment, where the
value came from. The text can be loaded again and means the same. `as_json` holds the same
by the names of the settings.

Guarantees: no secret is written; settings hold only the names of files with secrets.
Called by: cli, control.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from postroom.config.delivery_settings import ROUTES
from postroom.config.kinds import toml
from postroom.config.model import Config
from postroom.config.setting import Setting, Table, read_field
from postroom.config.settings import TABLES
from postroom.routing.policy import RelayHost

COMMENT_COLUMN = 48
"""Where comments begin, if the value leaves room."""


class Shown:
    """One setting in force: its table, its instance, its value as a file would have it."""

    __slots__ = ("instance", "plain", "setting", "table")

    def __init__(self, table: Table, instance: str, setting: Setting, plain: Any) -> None:
        self.table = table
        self.instance = instance
        self.setting = setting
        self.plain = plain

    @property
    def name(self) -> str:
        """The full name: "listen.smtp.address"."""
        return ".".join(filter(None, (self.table.name, self.instance, self.setting.name)))

    @property
    def is_empty(self) -> bool:
        """Nothing was set, and nothing could be written that says so."""
        return self.plain in ("", []) and self.setting.name != "relay_from"


def settings_of(config: Config) -> Iterator[Shown]:
    """Give every setting in force, in the order of the tables."""
    for table in TABLES:
        for instance, policy in policies_of(config, table):
            kind = route_type(policy) if table.name == "route" else ""
            for setting in table.settings:
                if kind and setting.types and kind not in setting.types:
                    continue
                if setting.field == "relays" and (setting.name == "host") != _is_single(policy):
                    continue
                if not setting.field:
                    yield Shown(table, instance, setting, kind)
                    continue
                value = read_field(policy, setting)
                plain = setting.kind.plain(value) if value not in ("", ()) else value
                yield Shown(table, instance, setting, [] if plain == () else plain)


def policies_of(config: Config, table: Table) -> list[tuple[str, Any]]:
    """Return (name, policy) of every table of one kind; the name is "" where it has none."""
    match table.name:
        case "":
            return [("", config)]
        case "listen":
            return [(listen.name, listen) for listen in config.listen]
        case "route":
            return list(config.routes.items())
        case "channel":
            return [(channel.name, channel) for channel in config.channels]
        case "source":
            return [(source.name, source) for source in config.sources]
        case "warmup":
            return [(warmup.name, warmup) for warmup in config.warmups]
        case "class":
            return [(one.name, one) for one in config.classes]
        case "tenant":
            return [(one.name, one) for one in config.tenants]
        case "webhook":
            return [(webhook.name, webhook) for webhook in config.webhooks]
        case "group":
            return [(group.name, group) for group in config.groups]
        case _:
            return [("", getattr(config, table.name))]


def route_type(policy: object) -> str:
    """Return "mx", "relay" … of a route."""
    return next(kind for kind, policy_type in ROUTES.items() if type(policy) is policy_type)


def as_toml(config: Config, sources: Mapping[str, str]) -> str:
    """Return the whole configuration as the text of a file, with sources as comments."""
    lines: list[str] = []
    header = None
    for shown in settings_of(config):
        table = ".".join(filter(None, (shown.table.name, shown.instance)))
        if table != header:
            header = table
            lines += ["", f"[{table}]"] if table else []
        written = f"{shown.setting.name} = {toml(shown.plain)}"
        if shown.is_empty:
            # As a comment: "" and [] mean that it is not set, which a file says by silence.
            written = f"# {shown.setting.name} is not set"
        source = _source(sources, shown)
        lines.append(written.ljust(COMMENT_COLUMN - 1) + f" # {source}")
    return "\n".join(lines).lstrip("\n") + "\n"


def as_json(config: Config, sources: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return {name: {"value": …, "source": …}} in types that JSON knows."""
    return {
        shown.name: {"value": shown.plain, "source": _source(sources, shown)}
        for shown in settings_of(config)
    }


def _source(sources: Mapping[str, str], shown: Shown) -> str:
    if shown.setting.name == "host" and shown.name not in sources:
        # It was given as a pool of one.
        return sources.get(shown.name.removesuffix("host") + "relays", "default")
    return sources.get(shown.name, "default")


def _is_single(policy: Any) -> bool:
    """One relay without weight or tier is written as `host`."""
    relays = policy.relays
    return len(relays) == 1 and relays[0] == RelayHost(relays[0].host, relays[0].port)
