"""Loading: from a file, the environment and the command line to one Config.

The command line wins over the environment, which wins over the file, which wins over the
defaults. With no file at all the defaults make a server that works: SMTP on port 2525 of
the loopback addresses, delivery by MX, the spool in the user's state directory.

Guarantees: a configuration is either whole and valid, or ConfigurationError tells all that
is wrong with it, one line for each mistake: "FILE:LINE: setting: what; expected; hint".
Called by: supervisor, cli.  Raises: ConfigurationError.
"""

from __future__ import annotations

import os
import pwd
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postroom.config.addresses import as_domain
from postroom.config.build import Builder
from postroom.config.checks import check_files, check_values
from postroom.config.gather import FILE_OCTETS_MAX, gather_text
from postroom.config.given import Gathered
from postroom.config.kinds import Place
from postroom.config.model import Config
from postroom.config.overrides import gather_environment, gather_overrides
from postroom.core.errors import ConfigurationError

SYSTEM_FILE = Path("/etc/postroom/postroom.toml")
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


def find_file(environ: Mapping[str, str]) -> Path | None:
    """Return the file to load when none is named on the command line, or None.

    `$POSTROOM_CONFIG` (which then must exist), the user's, the system's.
    """
    if environ.get("POSTROOM_CONFIG"):
        return Path(environ["POSTROOM_CONFIG"])
    own = _user_directory(environ, "XDG_CONFIG_HOME", ".config")
    for path in (own / "postroom" / "postroom.toml" if own else None, SYSTEM_FILE):
        if path is not None and path.is_file():
            return path
    return None


def load(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    *,
    files: bool = True,
) -> Loaded:
    """Load the configuration; `path` None means the file that `find_file` finds, if any.

    `files` False leaves out the checks of certificates and secrets, for commands that need
    only to know where the spool is. Raises ConfigurationError.
    """
    path = path if path is not None else find_file(environ)
    text = _read(path) if path is not None else None
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
    home, working = _home(environ), Path.cwd()
    gathered = Gathered()
    if text is not None:
        directory = path.absolute().parent if path else working
        gather_text(text, str(path or NO_FILE), Place(directory, home), gathered)
    _add_default_tables(gathered)
    gather_environment(environ, Place(working, home), gathered)
    gather_overrides(overrides, Place(working, home), gathered)
    state = _user_directory(environ, "XDG_STATE_HOME", ".local/state")
    builder = Builder(gathered)
    config = builder.config(
        hostname=_own_name(),
        base=str(state / "postroom") if state else "",
        source=str(path) if text is not None else "",
    )
    check_values(config, gathered)
    if files:
        check_files(config, gathered)
    if gathered.mistakes:
        raise ConfigurationError(str(gathered.mistakes))
    return Loaded(config, builder.sources, tuple(gathered.warnings))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            octets = file.read(FILE_OCTETS_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    # Who can write this file can have programs run (routes of type "pipe").
    if stat.S_ISREG(state.st_mode) and state.st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"{path}: everybody can write it; run: chmod o-w {path}")
    if len(octets) > FILE_OCTETS_MAX:
        raise ConfigurationError(f"{path}: larger than {FILE_OCTETS_MAX} octets")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: not TOML: not UTF-8") from None


def _add_default_tables(gathered: Gathered) -> None:
    if not gathered.instances("listen"):
        gathered.tables[("listen", "smtp")] = "default"
    for table in ("route", "channel"):
        gathered.tables.setdefault((table, "default"), "default")


def _home(environ: Mapping[str, str]) -> str:
    if environ.get("HOME", "").startswith("/"):
        return environ["HOME"]
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _user_directory(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    # The XDG base directory specification: a relative path is to be ignored.
    if environ.get(variable, "").startswith("/"):
        return Path(environ[variable])
    home = _home(environ)
    return Path(home) / below_home if home else None


def _own_name() -> str:
    # Not getfqdn: that may ask the DNS, and wait for it.
    return as_domain(socket.gethostname()) or "localhost"
