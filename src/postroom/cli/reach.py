"""What every command begins with: its configuration, and the server it talks to.

Called by: the commands.  Raises: CommandFailed, ConfigurationError, ControlError.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from postroom.cli.output import CONFIGURATION, TEMPORARY, USAGE, CommandFailed, fail
from postroom.config.base import find_base
from postroom.control.client import ControlClient
from postroom.control.paths import RunPaths
from postroom.control.protocol import Code, ControlError
from postroom.core.errors import ConfigurationError

if TYPE_CHECKING:
    # Imported where it is used: most commands need no more than the place of the spool.
    from postroom.config.loader import Loaded
    from postroom.config.model import Config


def load_configuration(options: argparse.Namespace, *, files: bool = False) -> Loaded:
    """Load the configuration of a command line."""
    try:
        return _load(options, files=files)
    except ConfigurationError as error:
        # One line per mistake already; each names file, line and what was expected.
        raise CommandFailed(str(error), code=CONFIGURATION) from error


def load_again(options: argparse.Namespace) -> Config:
    """Load it for a server that reloads; raises ConfigurationError."""
    return _load(options, files=True).config


def _load(options: argparse.Namespace, *, files: bool) -> Loaded:
    from postroom.config.loader import load

    return load(_file(options), os.environ, _overrides(options), files=files)


def _file(options: argparse.Namespace) -> Path | None:
    return Path(options.config) if options.config else None


def _overrides(options: argparse.Namespace) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for text in options.set or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            fail(f"--set {text}: expected NAME=VALUE", "--set spool.count=4", USAGE)
        overrides[name] = value
    return overrides


class Spool:
    """Where the spool of a command line is, and its configuration for who needs it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        base = find_base(_file(options), os.environ, _overrides(options))
        self.base = base if base is not None else self.configuration().spool.base

    def configuration(self) -> Config:
        """Load the configuration."""
        return load_configuration(self._options).config


def configuration(options: argparse.Namespace) -> Config:
    """Return the configuration, for commands that need no more of it."""
    return load_configuration(options).config


def master(spool: Spool) -> ControlClient:
    """Return a connection to the server; it must be running."""
    return ControlClient(RunPaths(spool.base).control)


def exit_code(error: ControlError) -> int:
    """Return the exit code for an error of the control protocol."""
    match error.code:
        case Code.UNAVAILABLE:
            return TEMPORARY
        case Code.USAGE:
            return USAGE
        case _:
            return 1
