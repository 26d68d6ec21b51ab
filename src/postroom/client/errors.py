"""What can go wrong when mail is handed over.

Called by: client, and programs that use it.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.errors import PostroomError, ReplyError


class NotAccepted(ReplyError):
    """The queue refused the message; `reply` says why, and whether trying later may help."""


class Unavailable(PostroomError):
    """No queue answered: the daemon is down, or cannot be reached.

    `queue_id` is not empty where a queue was lost after it had the whole message: it may
    have kept it under that id.
    """

    def __init__(self, text: str, queue_id: str = "") -> None:
        super().__init__(text)
        self.queue_id = queue_id
