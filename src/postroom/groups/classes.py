"""Classes of mail: which goes first, and what those behind it are sure of.

A class is found from what a message brings: its reverse-path, its listener, its user, the
priority that it asks for, or that it is a report (the null reverse-path). The first class in the
order of the configuration wins; the default one takes everything else. Classes of one priority
share a rank; rank 0 goes first.

Pure.  Called by: engine.admission, cli.explain, config.  Raises: ValueError for text that is no
rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from postroom.groups.policy import GroupPolicy
from postroom.groups.table import GroupTable, Reason


class ClassPolicy(msgspec.Struct, frozen=True):
    """One class.

    `priority` 1 goes first, 9 last. `share` is the part of all attempts that the class has at
    least while it has mail, whatever waits before it. `reports` is true where mail with the null
    reverse-path belongs to it. `mt_priority` above 0 takes mail that asks for as much or more,
    below 0 for as little or less, 0 none. The other rules are those of a group. `origin` is
    "file:line".
    """

    name: str = "default"
    priority: int = 5
    share: float = 0.05
    senders: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    reports: bool = False
    mt_priority: int = 0
    origin: str = ""


class ClassTable:
    """The classes of one configuration, ready to be asked."""

    def __init__(self, classes: Sequence[ClassPolicy] = (ClassPolicy(),)) -> None:
        """Index `classes`; the last one is the default and takes everything else."""
        assert classes, "a configuration always has a default class"
        priorities = sorted({one.priority for one in classes})
        self.is_single = len(priorities) == 1
        """True where all mail has one rank."""
        self._rank = {one.name: priorities.index(one.priority) for one in classes}
        self.shares = tuple(
            min(0.5, sum(one.share for one in classes if one.priority == priority))
            for priority in priorities
        )
        """What each rank is sure of, by rank."""
        self._places = {one.name: place for place, one in enumerate(classes)}
        self._asked = [one for one in classes if one.mt_priority]
        self._reports = next((one for one in classes if one.reports), None)
        # The same kinds of rules, but for recipients: a message has one class as a whole.
        self._table = GroupTable(
            [
                GroupPolicy(
                    one.name, senders=one.senders, listeners=one.listeners, users=one.users,
                    origin=one.origin,
                )
                for one in classes
            ]
        )  # fmt: skip

    def rank(self, reverse_path: str, listener: str, user: str, priority: int = 0) -> int:
        """Return the rank of a message: 0 goes first."""
        if self.is_single:
            return 0
        return self._rank[self.reason(reverse_path, listener, user, priority).group.name]

    def reason(self, reverse_path: str, listener: str, user: str, priority: int = 0) -> Reason:
        """Say which class mail belongs to, and by which rule."""
        why = self._by_source(reverse_path, listener, user)
        if not priority:
            return why
        for one in self._asked:
            if priority >= one.mt_priority > 0 or priority <= one.mt_priority < 0:
                if why.kind and self._places[why.group.name] <= self._places[one.name]:
                    return why
                group = GroupPolicy(one.name, origin=one.origin)
                return Reason(group, "mt_priority", str(one.mt_priority), "class")
        return why

    def _by_source(self, reverse_path: str, listener: str, user: str) -> Reason:
        found = self._table.reason("", reverse_path, listener, user)
        why = msgspec.structs.replace(found, noun="class")
        reports = self._reports
        if reverse_path or reports is None:
            return why
        if why.kind and self._places[why.group.name] <= self._places[reports.name]:
            return why
        return Reason(GroupPolicy(reports.name, origin=reports.origin), "reports", "<>", "class")
