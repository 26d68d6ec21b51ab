"""What came of a commit, and what senders are told where it failed.

Called by: spool.embedded.committer, compaction, writer.  Raises: nothing.
RFCs: RFC 5321 §4.2.3.
"""

from __future__ import annotations

import errno

import apsw
import msgspec

from postroom.core.errors import StoreFull, StoreUnavailable
from postroom.core.reply import Reply
from postroom.spool.store import Counts


class CommitResult(msgspec.Struct):
    """What came of a group: an error for changes with content, and for those without.

    `counts` are exact after the commit. `emptied` are segments whose files may go now.
    `control_error` says that the control file could not follow; nothing is lost by it.
    `is_behind` is true where it has not followed yet, or cannot be read.
    """

    counts: Counts
    content_error: StoreUnavailable | None = None
    error: StoreUnavailable | None = None
    control_error: StoreUnavailable | None = None
    emptied: list[int] = []
    is_behind: bool = False


def reply_error(error: Exception) -> StoreUnavailable:
    """Return what senders are told of a failed disk operation."""
    if isinstance(error, apsw.FullError) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    ):
        # RFC 5321 §4.2.3: 452 insufficient system storage.
        failure: StoreUnavailable = StoreFull(Reply(452, "4.3.1", "insufficient system storage"))
    else:
        failure = StoreUnavailable(Reply(451, "4.3.0", "the message could not be made durable"))
    failure.__cause__ = error
    return failure
