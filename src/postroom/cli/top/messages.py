"""The messages of one site, for `postroom top`: a few of them from each queue.

Called by: cli.top.watcher.  Raises: ControlError.
"""

from __future__ import annotations

from collections.abc import Iterable

from postroom.control.answers import ListedMessage, MailPage
from postroom.control.client import ControlClient
from postroom.control.commands import MailListArgs
from postroom.control.paths import RunPaths
from postroom.core.conditions import Names
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.spool.query import Query

MESSAGES_MAX = 100
PAGES_MAX = 10
"""Of one queue: a view is drawn soon, or says nothing of what lies deep in a large queue."""


def messages_of(
    base: str, queues: Iterable[int], channel: str, site: str
) -> tuple[StoredMessage, ...]:
    """Return messages of a site of a channel, the oldest of each queue first."""
    query = Query(channel=Names((channel,)), site=Names((site,)))
    found: list[StoredMessage] = []
    for number in queues:
        with ControlClient(RunPaths(base).queue(number)) as client:
            after: QueueId | None = None
            left = MESSAGES_MAX
            for _ in range(PAGES_MAX):
                args = MailListArgs(query, left, after)
                messages, page = client.page("mail list", args, ListedMessage, MailPage)
                found += messages
                left -= len(messages)
                if left <= 0 or not page.after:
                    break
                after = QueueId(page.after)
    return tuple(sorted(found, key=lambda one: one.arrived_at)[:MESSAGES_MAX])
