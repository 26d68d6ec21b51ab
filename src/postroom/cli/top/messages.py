"""The messages of one site, for `postroom top`: a few of them from each queue.

Called by: cli.top.watcher.  Raises: ControlError.
"""

from __future__ import annotations

from collections.abc import Iterable

from postroom.control.client import ControlClient
from postroom.control.commands import MailListArgs
from postroom.control.paths import RunPaths
from postroom.core.message import StoredMessage

MESSAGES_MAX = 100


def messages_of(
    base: str, queues: Iterable[int], channel: str, site: str
) -> tuple[StoredMessage, ...]:
    """Return messages of a site of a channel, the oldest of each queue first."""
    found: list[StoredMessage] = []
    for number in queues:
        with ControlClient(RunPaths(base).queue(number)) as client:
            args = MailListArgs(limit=MESSAGES_MAX)
            found += client.stream("mail list", args, StoredMessage)
    return tuple(sorted(found, key=lambda one: one.arrived_at)[:MESSAGES_MAX])
