"""The file as a list of settings.

Turns TOML into `Given` values by the table of settings: unknown tables and settings are
mistakes with a hint, those of later versions are named as such. Values are not looked at.

Called by: config.loader.  Raises: ConfigurationError for what is no TOML at all.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from postroom.config.given import Gathered, Given, Name, Origin
from postroom.config.kinds import Place, did_you_mean, shown
from postroom.config.positions import locate
from postroom.config.server_settings import GENERAL
from postroom.config.setting import Table
from postroom.config.settings import LATER_TABLES, TABLES, table_named
from postroom.core.errors import ConfigurationError

INSTANCE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?\Z")
INSTANCE_EXPECTED = "a name of letters, digits, - and _"
_AT_LINE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)\Z")


def gather_text(text: str, file: str, place: Place, gathered: Gathered) -> None:
    """Add the settings of a TOML text; `file` names it in errors."""
    document = _parse(text, file)
    try:
        origin = Origin(file, place, locate(text))
    except RecursionError:
        raise ConfigurationError(f"{file}: values are nested too deeply") from None
    _FileReader(origin, gathered).document(document)


def _parse(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = _AT_LINE.search(message)
        line, column = text.count("\n") + 1, ""
        if found is not None:
            message = message[: found.start()]
            if found[1]:
                line, column = int(found[1]), f" (column {found[2]})"
            else:
                message += " at the end of the file"
        raise ConfigurationError(f"{file}:{line}: not TOML: {message}{column}") from None
    except RecursionError:
        raise ConfigurationError(f"{file}: values are nested too deeply") from None
    except (ValueError, OverflowError) as error:
        # A number that Python refuses to read, such as one of five thousand digits.
        raise ConfigurationError(f"{file}: not TOML: {error}") from None


class _FileReader:
    """Walks one document along the tables of settings."""

    def __init__(self, origin: Origin, gathered: Gathered) -> None:
        self._origin = origin
        self._gathered = gathered

    def document(self, document: dict[str, Any]) -> None:
        """Take the general settings and every table."""
        for key, value in document.items():
            table = table_named(key) if key else None
            if table is None and GENERAL.setting(key):
                self._settings(GENERAL, "", {key: value}, ())
            elif table is None:
                self._unknown_table(key, value)
            elif not isinstance(value, dict):
                header = f"[{key}.NAME]" if table.named else f"[{key}]"
                self._mistake((key,), key, f"{shown(value)} is no table; expected {header}")
            elif table.named:
                self._named(table, value)
            else:
                self._settings(table, "", value, (key,))

    def _named(self, table: Table, instances: dict[str, Any]) -> None:
        for instance, value in instances.items():
            path = (table.name, instance)
            if not isinstance(value, dict):
                text = f"{shown(value)} is no table; expected [{table.name}.NAME]"
                if table.setting(instance):
                    text += f'; did you mean "{instance}" of a table [{table.name}.default]?'
                self._mistake(path, f"{table.name}.{instance}", text)
            elif not INSTANCE_NAME.match(instance):
                text = f"{shown(instance)} is no name; expected {INSTANCE_EXPECTED}"
                self._mistake(path, table.name, text)
            else:
                self._gathered.tables[path] = self._origin.where(path)
                self._settings(table, instance, value, path)

    def _settings(
        self, table: Table, instance: str, values: dict[str, Any], path: tuple[str, ...]
    ) -> None:
        for key, value in values.items():
            if isinstance(value, dict) and any(
                setting.name.startswith(key + ".") for setting in table.settings
            ):
                for inner, inner_value in value.items():
                    self._setting(
                        table, instance, f"{key}.{inner}", inner_value, (*path, key, inner)
                    )
            else:
                self._setting(table, instance, key, value, (*path, key))

    def _setting(
        self, table: Table, instance: str, key: str, value: object, path: tuple[str, ...]
    ) -> None:
        name = Name(table.name, instance, key)
        if table.setting(key):
            self._gathered.settings[name] = Given(value, self._origin, path)
        else:
            self._mistake(path, name, unknown_setting(table, key))

    def _unknown_table(self, key: str, value: object) -> None:
        if key in LATER_TABLES:
            text = f"not in this version yet; {LATER_TABLES[key]}"
        else:
            known = [table.name for table in TABLES if table.name]
            known += [setting.name for setting in GENERAL.settings]
            kind = "table" if isinstance(value, dict) else "setting"
            names = ", ".join(known)
            hint = _home_of(key) or did_you_mean(key, known)
            text = f"unknown {kind}; expected one of {names}" + (f"; {hint}" if hint else "")
        self._mistake((key,), shown(key)[1:-1], text)

    def _mistake(self, path: tuple[str, ...], name: object, text: str) -> None:
        self._gathered.mistakes.add(self._origin.where(path), name, text)


def unknown_setting(table: Table, key: str) -> str:
    """Return what is wrong with a setting that the table does not have."""
    if key in table.later:
        return f"not in this version yet; {table.later[key]}"
    known = [setting.name for setting in table.settings]
    hint = _home_of(key) or did_you_mean(key, known)
    header = f"[{table.name}.NAME]" if table.named else f"[{table.name}]"
    text = f"unknown setting; expected a setting of {header if table.name else 'the file'}"
    return text + (f"; {hint}" if hint else f" ({', '.join(known)})")


def _home_of(key: str) -> str:
    """Return a hint where another table has such a setting."""
    for table in TABLES:
        if table.name and table.setting(key):
            header = f"[{table.name}.NAME]" if table.named else f"[{table.name}]"
            return f'did you mean "{key}" of {header}?'
    return ""
