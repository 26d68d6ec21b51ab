"""Where a worker process begins: `python -m postroom.supervisor.worker_main --link N`.

Only the master starts it; N is the number of its end of the link.
Called by: supervisor.process.  Raises: SystemExit.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from postroom.control.event_log import open_log
from postroom.core.clock import SystemClock
from postroom.supervisor import runtime
from postroom.supervisor.file_limit import raise_limit
from postroom.supervisor.link import Begin, worker_end
from postroom.supervisor.mail_service import open_mail_service
from postroom.supervisor.worker import Worker


async def work(connection: socket.socket) -> int:
    """Take the first message of the master and work; return the exit status."""
    link = await worker_end(connection)
    begin = await link.receive()
    if begin is None:
        return 0  # the master ended before it said anything
    assert isinstance(begin, Begin)
    clock = SystemClock()
    name = f"queue{begin.queue}"
    runtime.set_title(f"postroom: {name} ({begin.config.spool.base})")
    log = open_log(begin.config, name, clock)
    try:
        worker = Worker(link, begin, open_mail_service, clock, log)
        runtime.calm_collector()
        return await worker.run()
    finally:
        log.close()


def main(argv: list[str]) -> int:
    """Run a worker on the link whose number the command line gives."""
    if len(argv) != 2 or argv[0] != "--link" or not argv[1].isdigit():
        sys.stderr.write("this program is started by `postroom serve`, not by hand\n")
        return 64
    raise_limit()
    connection = socket.socket(fileno=int(argv[1]))
    connection.setblocking(False)
    connection.set_inheritable(False)
    try:
        return runtime.run(work(connection))
    except asyncio.CancelledError:
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
