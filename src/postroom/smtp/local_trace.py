"""The Received header of mail that did not come by SMTP, and the count of hops.

Called by: ingress.local, spool.maildrop.  Raises: nothing.
RFCs: RFC 5321 §4.4 (time-stamp line), §6.3 (loop detection).
"""

from __future__ import annotations

import re
from email.utils import formatdate

from postroom.core.ids import QueueId

_RECEIVED = re.compile(rb"^received:", re.IGNORECASE | re.MULTILINE)


def local_received(hostname: str, user: str, queue_id: QueueId, now: float) -> bytes:
    """Return the Received header of a message that `user` of this machine handed over.

    There was no connection, so there is no "from" clause; who it was is a comment.
    """
    # RFC 5321 §4.4: "by" and "id" clauses and the date; a comment may stand between them.
    stamp = formatdate(now, localtime=False).replace("-0000", "+0000")
    return (
        f"Received: by {hostname} (Postroom, from user {user})\r\n\tid {queue_id}; {stamp}\r\n"
    ).encode("ascii", "replace")


def count_hops(content: bytes) -> int:
    """Return the number of Received headers, which tells a loop (RFC 5321 §6.3)."""
    end = content.find(b"\r\n\r\n")
    return len(_RECEIVED.findall(content, 0, end if end >= 0 else len(content)))
