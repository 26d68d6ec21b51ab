"""How many files this process may open: as many as the machine allows.

Called by: supervisor.serve, .worker_main, .descriptors, console.server.  Raises: nothing.
"""

from __future__ import annotations

import resource


def raise_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass  # some systems cap the soft limit below an unlimited hard one
    return soft
