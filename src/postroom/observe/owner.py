"""Whose files are that root makes in a directory of the server's: the user's that it runs as.

An operator who is root leaves mail and adds events while the server is down; the server and those
who read as its user must be able to read them and go on.

Called by: observe.stream.writer, webhooks.kept, spool.maildrop, control.paths, supervisor.
Raises: OSError.
"""

from __future__ import annotations

import os
from pathlib import Path


def give_to_owner(path: Path, owned: Path) -> None:
    """Give a file or directory to the owner of the directory `owned`, where we are root."""
    if os.geteuid() != 0:
        return
    facts = owned.stat()
    if facts.st_uid != 0:
        os.chown(path, facts.st_uid, facts.st_gid, follow_symlinks=False)


def make_private(path: Path) -> None:
    """Make a directory of mode 0700, and those above it that are missing, under any umask."""
    missing = [one for one in (path, *path.parents) if not one.is_dir()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
