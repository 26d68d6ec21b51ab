"""Whose the files of the stream are: the user's that the server runs as, also where root made them.

An operator who is root adds events while the server is down, and gives orders; the server and
those who read as its user must be able to read and go on.

Called by: observe.stream.writer, webhooks.kept.  Raises: OSError.
"""

from __future__ import annotations

import os
from pathlib import Path


def give_to_owner(path: Path, stream: Path) -> None:
    """Give a file or directory of a stream to the owner of the stream, where we are root."""
    if os.geteuid() != 0:
        return
    facts = stream.stat()
    if facts.st_uid != 0:
        os.chown(path, facts.st_uid, facts.st_gid)
