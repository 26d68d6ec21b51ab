"""One run of a worker (or companion) process, as the master sees it.

Owns the process and the master's end of its link. A worker is a fresh interpreter, not a
fork: it shares nothing with the master but the link and the listening sockets.

Called by: supervisor.fleet, .companions.  Raises: OSError where no process can be started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Self

from postroom.supervisor.link import Begin, CompanionBegin, Link, master_end

# -P: the current directory is no place to import from (it may be anybody's).
WORKER_COMMAND = (sys.executable, "-P", "-m", "postroom.supervisor.worker_main")


COMPANION_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
"""What a companion has besides our environment. Its threads read much and keep nothing: in arenas
of their own the C library holds what they leave, and the console grew by 6 MiB within 9,000
requests, where with one arena it stays as it is (`make soak` found it)."""


class WorkerProcess:
    """A worker that was started; wait for its end with `wait`."""

    def __init__(self, process: asyncio.subprocess.Process, link: Link) -> None:
        self._process = process
        self.link = link
        self.was_killed = False
        """True where we ended it by force."""

    @classmethod
    async def start(cls, command: Sequence[str], begin: Begin | CompanionBegin) -> Self:
        """Start a worker by a command, which gets `--link N`, and send it its orders."""
        ours, theirs = socket.socketpair()
        try:
            descriptors = [theirs.fileno(), *(bound.descriptor for bound in begin.sockets)]
            if isinstance(begin, Begin):
                descriptors += [one for one in (begin.flights, begin.lending) if one >= 0]
            process = await asyncio.create_subprocess_exec(
                *command,
                "--link",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                env=environment_of(begin),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        link = await master_end(ours)
        link.send(begin)
        return cls(process, link)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait(self) -> str:
        """Wait until the process has ended; return how, in words."""
        status = await self._process.wait()
        if status >= 0:
            return f"exit {status}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
        return f"signal {-status}"

    def kill(self) -> None:
        """End the process at once."""
        if self._process.returncode is None:
            self.was_killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)


def environment_of(begin: Begin | CompanionBegin) -> dict[str, str]:
    """Return the environment of a process (uvloop takes a dict); what the operator set stays."""
    own = {} if isinstance(begin, Begin) else COMPANION_ENVIRONMENT
    return {**own, **os.environ}
