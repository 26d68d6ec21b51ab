"""Loading: from a file, the environment and the command line to one Config.

The command line wins over the environment, which wins over the file, which wins over the
defaults. With no file at all the defaults make a server that works: SMTP on port 2525 of
the loopback addresses, delivery by MX, the spool in the user's state directory.

Guarantees: a configuration is either whole and valid, or ConfigurationError tells all that
is wrong with it, one line for each mistake: "FILE:LINE: setting: what; expected; hint".
Called by: supervisor, cli.  Raises: ConfigurationError.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from postroom.config.addresses import as_domain
from postroom.config.build import Builder
from postroom.config.checks import check_files, check_values
from postroom.config.files import default_base, find_file, home_directory, read_text
from postroom.config.gather import gather_text
from postroom.config.given import Gathered, Name
from postroom.config.kinds import Place
from postroom.config.model import Config
from postroom.config.overrides import gather_environment, gather_overrides
from postroom.config.rule_files import load_rules
from postroom.core.errors import ConfigurationError

NO_FILE = "no file"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, where each setting came from, and what is odd but allowed.

    `sources` maps the name of each setting in force ("listen.smtp.address") to
    "file:line", "environment NAME", "command line" or "default".
    """

    config: Config
    sources: dict[str, str]
    warnings: tuple[str, ...]


def load(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    *,
    files: bool = True,
) -> Loaded:
    """Load the configuration; `path` None means the file that `find_file` finds, if any.

    `files` False leaves out the checks of certificates and secrets, and reply rules, for
    commands that need only to know where the spool is. Raises ConfigurationError.
    """
    path = path if path is not None else find_file(environ)
    text = read_text(path) if path is not None else None
    return load_text(text, path, environ, overrides, files=files)


def load_text(
    text: str | None,
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    *,
    files: bool = True,
) -> Loaded:
    """Load from a text (None: no file) that stands in `path`. Raises ConfigurationError."""
    home, working = home_directory(environ), Path.cwd()
    gathered = Gathered()
    if text is not None:
        directory = path.absolute().parent if path else working
        gather_text(text, str(path or NO_FILE), Place(directory, home), gathered)
    _add_default_tables(gathered)
    gather_environment(environ, Place(working, home), gathered)
    gather_overrides(overrides, Place(working, home), gathered)
    builder = Builder(gathered)
    config = builder.config(
        hostname=_own_name(),
        base=default_base(environ),
        source=str(path) if text is not None else "",
    )
    check_values(config, gathered)
    if files:
        check_files(config, gathered)
        config = _with_rules(config, gathered)
    if gathered.mistakes:
        raise ConfigurationError(str(gathered.mistakes))
    return Loaded(config, builder.sources, tuple(gathered.warnings))


def _with_rules(config: Config, gathered: Gathered) -> Config:
    """Read the reply rules; what is wrong with them is told with all other mistakes."""
    try:
        return msgspec.structs.replace(config, reply_rules=load_rules(config.replies))
    except ConfigurationError as error:
        name = Name("replies", "", "file")
        for line in str(error).splitlines():
            where, separator, text = line.partition(": ")
            known = where.startswith(config.replies.file) and separator
            place = where if known else gathered.where(name)
            gathered.mistakes.add(place, "", text if known else line)
        return config


def _add_default_tables(gathered: Gathered) -> None:
    if not gathered.instances("listen"):
        gathered.tables[("listen", "smtp")] = "default"
    for table in ("route", "channel", "group", "class"):
        gathered.tables.setdefault((table, "default"), "default")


def _own_name() -> str:
    # Not getfqdn: that may ask the DNS, and wait for it.
    return as_domain(socket.gethostname()) or "localhost"
