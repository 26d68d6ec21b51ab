"""`postroom serve`: prepare the ground, then run the master until it ends.

Called by: cli, and as a program (`python -m postroom.supervisor.serve --config FILE`).
Raises: ConfigurationError, QueueBusy (a server runs on this base), QueueUnusable, OSError.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from postroom.config.loader import load
from postroom.config.model import Config
from postroom.control.answers import Status
from postroom.control.event_log import open_log
from postroom.core.clock import SystemClock
from postroom.core.errors import ConfigurationError, PostroomError
from postroom.observe.events import SettingIgnored
from postroom.spool.embedded import configured, lock_base, prepare_base
from postroom.spool.errors import QueueBusy
from postroom.supervisor import privileges, runtime
from postroom.supervisor.board_file import place_board, remove_board
from postroom.supervisor.file_limit import raise_limit
from postroom.supervisor.master import LoadConfig, Master
from postroom.supervisor.slot import WantedQueue

# sysexits.h
EX_OK = 0
EX_CANTCREAT = 73
EX_TEMPFAIL = 75
EX_CONFIG = 78

SPARE_ROWS = 64
"""Queues that may be added while the server runs."""


def serve(
    config: Config, load: LoadConfig, on_ready: Callable[[Status], None] | None = None
) -> int:
    """Serve until told to stop; return the exit status.

    `load` reads the configuration again, for a reload. `on_ready` is called once every
    queue is open.
    """
    raise_limit()
    if privileges.assume(config):
        config = _as_found(load(), config)
        privileges.prepare_directories(config)
    base = config.spool.base
    lock = lock_base(Path(base))
    try:
        skipped: list[str] = []
        manifest = prepare_base(config.spool, skipped=skipped)
        wanted = configured(config.spool, manifest)
        queues = {
            queue.number: WantedQueue(queue.state, queue.number in wanted, queue.is_grown)
            for queue in manifest.queues
        }
        runtime.set_title(f"postroom: master ({base})")
        clock = SystemClock()
        log = open_log(config, "master", clock)
        for reason in skipped:
            log.emit(SettingIgnored("spool.directories", reason))
        board = place_board(base, len(queues) + SPARE_ROWS, os.environ)
        try:
            master = Master(config, load, queues, clock, log, on_ready)
            return runtime.run(master.run(str(board)))
        finally:
            remove_board(base, board)
            log.close()
    finally:
        # Last of all: a new server starts on a base that nobody uses any more.
        lock.release()


def _as_found(found: Config, config: Config) -> Config:
    """Return what the server's user finds as its configuration: that is what a reload reads."""
    if (found.source, found.server) != (config.source, config.server):
        told = f"server.user: {config.server.user} finds {found.source or 'no configuration file'}"
        raise ConfigurationError(f"{told}, not {config.source}; name it: --config FILE")
    return found


def main(argv: Sequence[str]) -> int:
    """Serve by a configuration file; the smallest command line there can be."""
    parser = argparse.ArgumentParser(prog="python -m postroom.supervisor.serve")
    parser.add_argument("--config", type=Path, default=None)
    path: Path | None = parser.parse_args(argv).config

    def read() -> Config:
        return load(path, os.environ, {}).config

    try:
        return serve(read(), read)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    except QueueBusy as error:
        sys.stderr.write(f"postroom: already running: {error}\n")
        return EX_TEMPFAIL
    except (PostroomError, OSError) as error:
        sys.stderr.write(f"postroom: {error}\n")
        return EX_CANTCREAT


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
