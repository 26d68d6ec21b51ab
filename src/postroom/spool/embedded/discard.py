"""The directory of a queue that growth made, removed after the queue was retired empty.

Nobody asked for it, so nobody would clear it away. Where anything lies in it that is not known
here, or a part was moved to another disk, all of it is left.

Guarantees: 1. the identity goes first, so that what a crash leaves is no queue.  2. no message
is removed: the caller has struck the queue from the manifest, after it was closed empty.
Called by: supervisor.queue_changes.  Raises: OSError.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

_KNOWN: Final = frozenset({"identity", "lock", "qf", "df", "xf"})


def discard_queue(directory: Path) -> bool:
    """Remove the directory of a retired queue; False where it is left as it is."""
    if any(entry.name not in _KNOWN or entry.is_symlink() for entry in directory.iterdir()):
        return False
    (directory / "identity").unlink(missing_ok=True)
    shutil.rmtree(directory)
    return True
