"""What each segment holds, and so what the queue holds: counts that are always exact.

Owns a line of numbers for each segment with live messages. Changes of one transaction are
collected and taken over only once it is durable.

Guarantees: the sums equal a scan of the tables at each commit.
Called by: spool.embedded.committer.  Raises: nothing.
"""

from __future__ import annotations

from postroom.spool.store import Counts


class Line:
    """The numbers of one segment: of live messages, and the octets of the file."""

    __slots__ = ("held", "messages", "octets", "recipients", "total_octets")

    def __init__(
        self,
        messages: int = 0,
        recipients: int = 0,
        held: int = 0,
        octets: int = 0,
        total_octets: int = 0,
    ) -> None:
        self.messages = messages
        self.recipients = recipients
        self.held = held
        self.octets = octets
        self.total_octets = total_octets

    def add(self, other: Line) -> None:
        """Add the changes of a transaction."""
        self.messages += other.messages
        self.recipients += other.recipients
        self.held += other.held
        self.octets += other.octets
        self.total_octets = max(self.total_octets, other.total_octets)


class Ledger:
    """Lines by segment, and the changes of the transaction under way."""

    __slots__ = ("changes", "lines")

    def __init__(self, lines: dict[int, Line]) -> None:
        self.lines = lines
        self.changes: dict[int, Line] = {}

    def change(self, segment: int) -> Line:
        """Return the line that collects the changes of a segment."""
        line = self.changes.get(segment)
        if line is None:
            line = self.changes[segment] = Line()
        return line

    def emptied(self, current: int | None) -> list[int]:
        """Return the segments, `current` aside, that the changes leave without live messages."""
        nothing = Line()
        return [
            number
            for number in {*self.lines, *self.changes}
            if number != current
            and self.lines.get(number, nothing).messages
            + self.changes.get(number, nothing).messages
            == 0
        ]

    def apply(self, dropped: list[int]) -> None:
        """Take over the changes: they are durable."""
        for number, change in self.changes.items():
            self.lines.setdefault(number, Line()).add(change)
        for number in dropped:
            self.lines.pop(number, None)
        self.changes = {}

    def forget_changes(self) -> None:
        """Drop the changes: they did not become durable."""
        self.changes = {}

    def counts(self) -> Counts:
        """Return the sums."""
        lines = self.lines.values()
        return Counts(
            messages=sum(line.messages for line in lines),
            recipients=sum(line.recipients for line in lines),
            held=sum(line.held for line in lines),
            octets=sum(line.octets for line in lines),
        )
