"""What every command begins with: its configuration, and the server it talks to.

Called by: the commands.  Raises: CommandFailed, ConfigurationError, ControlError.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from postroom.cli.output import CONFIGURATION, TEMPORARY, USAGE, CommandFailed, fail
from postroom.config.loader import Loaded, load
from postroom.config.model import Config
from postroom.control.client import ControlClient
from postroom.control.paths import RunPaths
from postroom.control.protocol import Code, ControlError
from postroom.core.errors import ConfigurationError


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
    overrides: dict[str, str] = {}
    for text in options.set or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            fail(f"--set {text}: expected NAME=VALUE", "--set spool.count=4", USAGE)
        overrides[name] = value
    path = Path(options.config) if options.config else None
    return load(path, os.environ, overrides, files=files)


def configuration(options: argparse.Namespace) -> Config:
    """Return the configuration, for commands that need no more of it."""
    return load_configuration(options).config


def master(config: Config) -> ControlClient:
    """Return a connection to the server; it must be running."""
    return ControlClient(RunPaths(config.spool.base).control)


def exit_code(error: ControlError) -> int:
    """Return the exit code for an error of the control protocol."""
    match error.code:
        case Code.UNAVAILABLE:
            return TEMPORARY
        case Code.USAGE:
            return USAGE
        case _:
            return 1
