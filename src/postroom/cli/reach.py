"""Reaching the queues: through the running server, or their stores where it is down.

Owns the configuration of the command and its connections. Each queue is asked through its
worker's socket; where nobody listens there, its store is opened by the same handlers.

Called by: the commands.  Raises: CommandFailed, ConfigurationError, ControlError.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from postroom.cli.output import CONFIGURATION, TEMPORARY, USAGE, CommandFailed, fail, warn
from postroom.config.loader import Loaded, load
from postroom.config.model import Config
from postroom.control.client import ControlClient, ServerUnavailable
from postroom.control.paths import RunPaths
from postroom.control.protocol import Code, ControlError
from postroom.core.errors import ConfigurationError


class QueueLink(Protocol):
    """One queue, reached one way or the other."""

    number: int
    is_running: bool

    def call(self, command: str, args: object = None, type: Any = Any) -> Any:
        """Do a command."""
        ...

    def stream(self, command: str, args: object = None, type: Any = Any) -> Iterator[Any]:
        """Do a command that lists."""
        ...

    def close(self) -> None:
        """Let go of the queue."""
        ...


class RunningQueue:
    """A queue whose worker answers."""

    is_running = True

    def __init__(self, number: int, path: Path) -> None:
        self.number = number
        self._client = ControlClient(path)

    def call(self, command: str, args: object = None, type: Any = Any) -> Any:
        """Do a command."""
        return self._client.call(command, args, type)

    def stream(self, command: str, args: object = None, type: Any = Any) -> Iterator[Any]:
        """Do a command that lists."""
        return self._client.stream(command, args, type)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


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


class _Queue(msgspec.Struct, frozen=True):
    """What matters here of a queue of the manifest."""

    number: int
    directory: str


class _Manifest(msgspec.Struct, frozen=True):
    queues: tuple[_Queue, ...] = ()


def queue_directories(config: Config) -> dict[int, Path]:
    """Return the queues of the base, in order of number, and where they lie.

    Mail in a queue that the configuration no longer names is still shown. The manifest is
    read here without the store's code, whose import takes longer than most commands.
    """
    path = Path(config.spool.base) / "manifest.json"
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except FileNotFoundError:
        return {}
    except PermissionError:
        fail(f"{path} cannot be read by this user", "run this as the server's user", TEMPORARY)
    except (OSError, msgspec.MsgspecError) as error:
        fail(f"{path}: {error}", "see what is wrong: postroom fsck")
    return {queue.number: Path(queue.directory) for queue in manifest.queues}


def each_queue(config: Config, only: Iterable[int] = ()) -> Iterator[QueueLink]:
    """Give the queues one after the other; each is closed when the next is asked for."""
    wanted = tuple(only)
    directories = queue_directories(config)
    for number in wanted:
        if number not in directories:
            fail(f"there is no queue{number}", "see them: postroom queue list")
    for number in wanted or directories:
        if not directories[number].is_dir():
            warn(f"queue{number} is MISSING: {directories[number]} does not exist")
            continue
        link = _reach(config, number)
        try:
            yield link
        finally:
            link.close()


def _reach(config: Config, number: int) -> QueueLink:
    """Return one queue, through its worker or else opened here."""
    try:
        return RunningQueue(number, RunPaths(config.spool.base).queue(number))
    except ServerUnavailable:
        pass
    from postroom.control.offline import OfflineQueue
    from postroom.spool.embedded import read_manifest

    manifest = read_manifest(Path(config.spool.base))
    queues = manifest.queues if manifest is not None else ()
    return OfflineQueue(config, next(queue for queue in queues if queue.number == number))


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
