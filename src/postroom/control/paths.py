"""Where the sockets of one base are, and how a long path is bound and connected to.

A Unix socket address holds about 107 octets, a spool may lie deeper than that. Such a
path is reached through the directory's descriptor: /proc/self/fd/N/name is short.

Guarantees: 1. a socket bound here has mode 0600 in a directory of mode 0700.  2. The
process's working directory never changes.
Called by: control.server, control.client, supervisor, cli.  Raises: OSError.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from postroom.observe.owner import make_private

SUN_PATH_OCTETS_MAX = 100
"""Longest path used as it is; sun_path has 108 octets on Linux, 104 elsewhere."""

LISTEN_BACKLOG = 64


class RunPaths:
    """Names of what lies in BASE/run."""

    __slots__ = ("directory",)

    def __init__(self, base: str | Path) -> None:
        self.directory = Path(base) / "run"

    @property
    def control(self) -> Path:
        """The master's control socket."""
        return self.directory / "control.sock"

    @property
    def board(self) -> Path:
        """The status board, or a link to it."""
        return self.directory / "board"

    def queue(self, number: int) -> Path:
        """The control socket of the worker of queue `number`."""
        return self.directory / f"queue{number}.sock"

    def intake(self, number: int) -> Path:
        """The socket on which queue `number` takes mail of local injectors."""
        return self.directory / f"queue{number}.intake.sock"

    def peer(self, number: int) -> Path:
        """The socket on which queue `number` hears the workers of other queues."""
        return self.directory / f"queue{number}.peer.sock"


@contextlib.contextmanager
def reachable(path: str | Path) -> Iterator[str]:
    """Give a name of `path`, short enough for a socket address, for as long as it is used."""
    path = Path(path)
    if len(os.fsencode(path)) <= SUN_PATH_OCTETS_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def make_private_directory(path: Path) -> None:
    """Make a directory of mode 0700, or make an existing one so."""
    make_private(path)
    if path.stat().st_mode & 0o777 != 0o700:
        path.chmod(0o700)


def bind_unix(path: Path) -> socket.socket:
    """Return a listening socket at `path`, replacing one that was left behind.

    The caller holds the lock of the base or the lease of the queue, so a socket that is
    there belongs to a dead process.
    """
    make_private_directory(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reachable(path) as name:
            listener.bind(name)
        path.chmod(0o600)
        listener.listen(LISTEN_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def connect_unix(path: Path, timeout_s: float) -> socket.socket:
    """Return a connected, blocking socket; every operation on it may take `timeout_s`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        with reachable(path) as name:
            connection.connect(name)
    except BaseException:
        connection.close()
        raise
    return connection
