"""Where the configuration file is, and its text.

Called by: config.loader, config.base.  Raises: ConfigurationError.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

from postroom.core.errors import ConfigurationError

SYSTEM_FILE = Path("/etc/postroom/postroom.toml")
FILE_OCTETS_MAX = 4 * 1024 * 1024
"""A file is read into memory; ten thousands of channels fit into this."""


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


def read_text(path: Path) -> str:
    """Return the text of a configuration file; raises ConfigurationError."""
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


def default_base(environ: Mapping[str, str]) -> str:
    """Return the spool of a user who names none; "" where there is no home directory."""
    state = _user_directory(environ, "XDG_STATE_HOME", ".local/state")
    return str(state / "postroom") if state else ""


def home_directory(environ: Mapping[str, str]) -> str:
    """Return the home directory of the running user, "" where there is none."""
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
    home = home_directory(environ)
    return Path(home) / below_home if home else None
