"""What root does to a spool of another user's is done as that user.

Otherwise the server could not read afterwards what root made: tokens, a segment, an override.

Called by: cli, control.offline.  Raises: nothing.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def act_as_owner(base: str | Path) -> None:
    """Be the owner of a base from now on, where we are root and it is somebody else's."""
    if os.geteuid() != 0:
        return
    try:
        facts = Path(base).stat()
    except OSError:
        return
    if facts.st_uid == 0:
        return
    try:
        os.initgroups(pwd.getpwuid(facts.st_uid).pw_name, facts.st_gid)
    except KeyError:
        os.setgroups([])
    os.setegid(facts.st_gid)
    os.seteuid(facts.st_uid)
