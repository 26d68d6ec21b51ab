"""Settings from the environment and from the command line.

`POSTROOM_SPOOL_COUNT=4` and `--set spool.count=4` both mean `count` of `[spool]`. A table
with a name is found by its name: `POSTROOM_LISTEN_SMTP_ADDRESS` is `address` of
`[listen.smtp]`, in which "-" is written "_". The environment changes tables that exist;
the command line can also make one.

A variable that fits no setting is a warning, not a mistake: container platforms put
variables of their own there, named after the service. An empty variable is not set.

Called by: config.loader.  Raises: nothing; mistakes are gathered.
"""

from __future__ import annotations

from collections.abc import Mapping

from postroom.config.gather import INSTANCE_EXPECTED, INSTANCE_NAME, unknown_setting
from postroom.config.given import Gathered, Given, Name, Origin
from postroom.config.kinds import Place, did_you_mean
from postroom.config.server_settings import GENERAL
from postroom.config.setting import Setting, Table
from postroom.config.settings import (
    ENVIRONMENT_PREFIX,
    SEED_VARIABLES,
    TABLES,
    table_named,
)

COMMAND_LINE = "command line"
OWN_VARIABLES = frozenset({"POSTROOM_CONFIG"})
"""Variables with our prefix that are no settings."""


def gather_environment(environ: Mapping[str, str], place: Place, gathered: Gathered) -> None:
    """Add what the environment gives; run after the file, whose tables it refers to."""
    known = _variables(gathered)
    for variable, path in SEED_VARIABLES.items():
        if environ.get(variable):
            name, setting = known[variable_of(path)]
            _add(gathered, name, setting, environ[variable], f"environment {variable}", place)
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in OWN_VARIABLES or not text:
            continue
        found = known.get(variable)
        if found is None:
            hint = did_you_mean(variable.lower(), [name.lower() for name in known])
            hint = f"; {hint.upper().replace('DID YOU MEAN', 'did you mean')}" if hint else ""
            gathered.warnings.append(f"environment {variable}: ignored: no such setting{hint}")
            continue
        _add(gathered, *found, text, f"environment {variable}", place)


def gather_overrides(overrides: Mapping[str, str], place: Place, gathered: Gathered) -> None:
    """Add what the command line gives; keys are names of settings, "spool.count"."""
    for path, text in overrides.items():
        table, instance, key = _split(path)
        if table is None:
            known = [table.name for table in TABLES if table.name]
            known += [setting.name for setting in GENERAL.settings]
            hint = did_you_mean(path.partition(".")[0], known)
            problem = "unknown setting; expected a name such as spool.count"
            gathered.mistakes.add(COMMAND_LINE, path, problem + (f"; {hint}" if hint else ""))
            continue
        name = Name(table.name, instance, key)
        setting = table.setting(key)
        if table.named and not (key and INSTANCE_NAME.match(instance)):
            problem = f"expected {table.name}.NAME.SETTING, NAME being {INSTANCE_EXPECTED}"
            gathered.mistakes.add(COMMAND_LINE, path, problem)
        elif setting is None:
            gathered.mistakes.add(COMMAND_LINE, name, unknown_setting(table, key))
        else:
            if table.named:
                gathered.tables.setdefault((table.name, instance), COMMAND_LINE)
            _add(gathered, name, setting, text, COMMAND_LINE, place)


def _add(
    gathered: Gathered, name: Name, setting: Setting, text: str, source: str, place: Place
) -> None:
    gathered.settings[name] = Given(setting.kind.from_text(text), Origin(source, place))


def _variables(gathered: Gathered) -> dict[str, tuple[Name, Setting]]:
    """Return every variable that means something, for the tables there are."""
    variables = {}
    for table in TABLES:
        for instance in gathered.instances(table.name) if table.named else [""]:
            for setting in table.settings:
                name = Name(table.name, instance, setting.name)
                variables[variable_of(str(name))] = (name, setting)
    return variables


def variable_of(path: str) -> str:
    """Return the variable of a setting: "POSTROOM_SPOOL_COUNT" of "spool.count"."""
    return ENVIRONMENT_PREFIX + path.upper().replace(".", "_").replace("-", "_")


def _split(path: str) -> tuple[Table | None, str, str]:
    """Return table, name of the table and setting of "listen.smtp.address"."""
    first, _, rest = path.partition(".")
    if not rest:
        return (GENERAL if GENERAL.setting(first) else None), "", first
    table = table_named(first)
    if table is None or not table.named:
        return table, "", rest
    instance, _, key = rest.partition(".")
    return table, instance, key
