"""Why a queue cannot be opened.

Called by: supervisor, control, cli.  Raised by: spool.embedded.
"""

from __future__ import annotations

from postroom.core.errors import PostroomError


class QueueUnusable(PostroomError):
    """A queue directory is missing, foreign, unsafe or of another version; left untouched."""


class QueueBusy(QueueUnusable):
    """Another living process holds the lease of the queue, or runs the base."""
