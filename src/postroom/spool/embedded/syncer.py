"""Syncs that neither the event loop nor a thread waits for: the kernel's asynchronous I/O.

A thread that writes and syncs takes the interpreter's lock from the loop and gives it back
several times for each group; on two cores that cost about a seventh of all CPU. Here the
loop asks the kernel for an fdatasync (io_submit(2), IOCB_CMD_FDSYNC) and hears of its end
through an eventfd.

Guarantees: 1. `done` is called once for each sync, later, on the loop.  2. It hears None
only after everything written to the file before `sync` is durable.
Called by: spool.embedded.writer.  Raises: nothing; errors go to `done`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from caio.linux_aio import Context

Done = Callable[[OSError | None], None]

# What the package raises for EAGAIN, EINVAL, ENOSYS and the like.
_REFUSALS = (OSError, ValueError, OverflowError, RuntimeError, SystemError)
_SIGN_BIT = 1 << 63
_SYNCS_MAX = 4  # one group is under way at a time; some spare


class Syncer(Protocol):
    """Makes files durable in the background."""

    @property
    def refuses(self) -> bool:
        """True once an order was refused: then somebody else syncs from now on."""
        ...

    def sync(self, descriptor: int, done: Done) -> None:
        """Make content and length of an open file durable, then call `done`."""
        ...

    def close(self) -> None:
        """Let go; nothing is under way any more."""
        ...


class KernelSyncer:
    """Syncs by the kernel's asynchronous I/O; made by `kernel_syncer`."""

    def __init__(self, context: Context) -> None:
        from caio.linux_aio import Operation

        self._context = context
        self.refuses = False
        self._fdsync = Operation.fdsync
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(context.fileno, self._on_ready)

    def sync(self, descriptor: int, done: Done) -> None:
        """Ask the kernel; where it refuses to take the order, sync here and now."""
        operation = self._fdsync(descriptor)
        operation.set_callback(lambda result: done(error_of(result)))
        try:
            if self._context.submit(operation) == 1:
                return
        except _REFUSALS:
            pass  # forbidden, or a file system without asynchronous sync
        self.refuses = True
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            self._loop.call_soon(done, error)
        else:
            self._loop.call_soon(done, None)

    def close(self) -> None:
        """Stop listening."""
        self._loop.remove_reader(self._context.fileno)

    def _on_ready(self) -> None:
        try:
            self._context.poll()
        except BlockingIOError:
            pass  # its number was read before; what is done is done all the same
        self._context.process_events()


def kernel_syncer() -> KernelSyncer | None:
    """Return a syncer for the running loop; None where this machine has none.

    The package may be missing, the kernel may lack or forbid it (seccomp), or all its
    contexts may be in use (fs.aio-max-nr): then a thread does the work as well.
    """
    try:
        from caio.linux_aio import Context

        return KernelSyncer(Context(_SYNCS_MAX))
    except (ImportError, *_REFUSALS):
        return None


def error_of(result: int) -> OSError | None:
    """Return what an answer of the kernel means."""
    # It answers 0 or a negative errno; the package hands that on without its sign.
    if result < _SIGN_BIT:
        return None
    number = 2 * _SIGN_BIT - result
    return OSError(number, os.strerror(number))
