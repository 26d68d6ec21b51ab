"""Whether another system still works on a queue.

Looks at the locks that these systems hold while they run, and for their processes whose
working directory is the queue. Takes no lasting lock and changes nothing. What cannot be seen
(another container, a network disk) is not found.

Called by: cli.takeover.  Raises: nothing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from postroom.takeover.mailman_running import master_of, runner_among

LOCKS = {
    "postfix": ("pid/master.pid",),
    "qmail": ("lock/sendmutex",),
    "sendmail": (),
    "exim": (),
    "mailman": (),
}
"""Files that are locked while the system runs, below its directory."""
PROCESSES = {
    "postfix": ("master", "qmgr", "nqmgr", "cleanup", "pickup", "smtp", "smtpd", "local", "bounce"),
    "qmail": ("qmail-send", "qmail-queue", "qmail-clean"),
    "sendmail": ("sendmail", "sendmail-mta", "sendmail-msp"),
    "exim": ("exim", "exim4"),
    "mailman": ("python", "python3", "mailman", "runner"),
}
"""Names of processes that may have a queue as their working directory, or files of it open."""


def working_on(system: str, directory: Path) -> str:
    """Return how it shows that the system still runs, or ""."""
    for name in LOCKS[system]:
        path = directory / name
        if _is_locked(path):
            return f"{path} is locked"
    if system == "mailman":
        # Its runners open a file only for a moment, and work in the directory above.
        sign = master_of(directory) or runner_among(_processes())
        if sign:
            return sign
    return _process_in(system, directory)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Either kind of lock may be in use; ours end with the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _process_in(system: str, directory: Path) -> str:
    place = str(directory.resolve())
    for entry in _processes():
        try:
            name = (entry / "comm").read_text("utf-8", "replace").strip()
            if name not in PROCESSES[system]:
                continue
            used = [entry / "cwd", *(entry / "fd").iterdir()]
        except OSError:
            continue  # ended meanwhile, or another user's
        for link in used:
            try:
                target = str(link.readlink())
            except OSError:
                continue
            if target == place or target.startswith(place + "/"):
                return f"process {entry.name} ({name}) uses {target}"
    return ""


def _processes() -> list[Path]:
    own = str(os.getpid())
    try:
        entries = list(Path("/proc").iterdir())
    except OSError:
        return []
    return [entry for entry in entries if entry.name.isdigit() and entry.name != own]
