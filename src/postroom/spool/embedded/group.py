"""A group: changes that become durable together, and how long it waits for more of them.

A sync costs the same for one message as for twenty. So before a group is written the loop turns
a few times more, and what it takes meanwhile goes along: where nothing has come that is over at
once, for such a turn asks the kernel and does not wait.

Called by: spool.embedded.writer.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final

from postroom.spool.embedded.changes import Change

LOOKS_MIN: Final = 2
"""Turns of the loop in which a group may get company."""
LOOKS_MAX: Final = 8
"""While each turn brings some."""


class Group:
    """Changes that become durable together."""

    __slots__ = (
        "changes", "content_future", "failed", "flushed", "follows", "future", "is_urgent",
        "makes_room", "octets", "with_content",
    )  # fmt: skip

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.with_content: list[Change] = []
        self.content_future: asyncio.Future[None] | None = None
        self.future: asyncio.Future[None] | None = None
        self.flushed: asyncio.Future[None] | None = None
        """Done once the control file has everything up to this group."""
        self.follows = False
        """True where it is there to let the control file catch up, and holds nothing."""
        self.makes_room = False
        """True where dead octets are to be given back to the disk after it."""
        self.failed: OSError | None = None
        """Why the group, which was begun on the loop, is not durable."""
        self.octets = 0
        self.is_urgent = False
        """True where somebody waits for it: it holds more than settlements."""


class Company:
    """Whether a group is to wait for another turn of the loop."""

    __slots__ = ("_changes", "_looks")

    def __init__(self) -> None:
        self._looks = 0
        self._changes = 0
        """How many the group had at the last look."""

    def may_come(self, group: Group) -> bool:
        """Say whether a group is to wait for another turn, and count it.

        Nobody waits for one that is not urgent; that has its company otherwise.
        """
        changes = len(group.changes)
        if group.is_urgent and self._looks < (LOOKS_MAX if changes > self._changes else LOOKS_MIN):
            self._looks += 1
            self._changes = changes
            return True
        self._looks = self._changes = 0
        return False
