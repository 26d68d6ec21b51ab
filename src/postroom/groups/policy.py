"""What a group says: which queues it owns, which mail belongs to it, how mail is placed.

Values only; config makes them.  Called by: config, groups, engine, supervisor.
Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from postroom.core.limits import Rate

PLACEMENTS = ("least-loaded", "round-robin", "random", "weighted", "hash")


class GroupPolicy(msgspec.Struct, frozen=True):
    """One group.

    `queues` are numbers of queues; the default group owns all that no other names. Mail
    belongs to the first group of which one of these names it: a recipient's domain
    (`match`, rules as of a channel but without "mx:"), the reverse-path (`senders`:
    "a@example.org", or a rule for its domain), the listener it came by, the authenticated
    user. `weights` stand side by side with `queues`. `sync` is that of its queues, "" as
    `spool.sync` says. `concurrency` and `rate` are limits of all its queues together. `origin`
    is "file:line" of the table, for explanations.
    """

    name: str = "default"
    queues: tuple[int, ...] = ()
    placement: str = "least-loaded"
    weights: tuple[int, ...] = ()
    sync: str = ""
    match: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    concurrency: int | None = None
    rate: Rate | None = None
    origin: str = ""


def group_of(groups: Sequence[GroupPolicy], queue: int) -> GroupPolicy:
    """Return the group that owns a queue: the default one, the last, where none names it."""
    return next((group for group in groups[:-1] if queue in group.queues), groups[-1])
