"""Suspects: messages that were being attempted when a worker died hard.

Owns who is suspected of what, whose turn it is, and what a further crash would count. One
suspect is tried at a time, so that the next crash names the culprit. What a crash counts:

| the message was                       | its counter becomes            |
| ------------------------------------- | ------------------------------ |
| in flight, not suspected              | 1, or stays where it was above |
| a suspect in flight                   | one more                       |
| the same for long, and we were killed | what it was                    |
| not in flight                         | what it was                    |

So mail that merely flies beside gets no further than 1, again and again; the second and the
third crash only count against suspects. Who was counted twice is tried alone to the end of
the attempt, so that the third crash counts against one message. A kill from outside (SIGKILL,
unless memory ran out) hits at any moment, so it would hit slow mail: it counts only against who
has just begun its trial. A suspect is cleared, and its counter set back, once all its
recipients that were in flight have been tried.

Pure: nothing here awaits. Where there are no suspects all of it costs one look.
Called by: engine.admission, engine.pump, engine.probation.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from postroom.core.ids import QueueId
from postroom.observe.flights import KILLED, Flight, Mark

CRASHES_MAX = 3
"""So many crashes in a row, and a message is quarantined."""
ALONE_FROM = 2
"""From this count on a suspect is tried alone, however long that takes."""


class Suspect:
    """One message that may have killed a worker."""

    __slots__ = ("crashes", "flights", "id", "is_out", "places", "untried")

    def __init__(self, queue_id: QueueId) -> None:
        self.id = queue_id
        self.flights: list[Flight] = []
        self.crashes = 0
        """Known once the store was asked, as is `untried`."""
        self.untried: set[int] | None = None
        """Recipients that were in flight and have not been tried since; None: not known."""
        self.is_out = False
        """True from the beginning of its trial: it may be attempted."""
        self.places: list[int] = []
        """Where its attempts in flight are written, of what is untried."""

    def covers(self, index: int) -> bool:
        """Say whether a recipient was in flight."""
        return any(flight.first <= index <= flight.last for flight in self.flights)

    def count(self, crashes: int, crash: str) -> None:
        """Count the crash that made it a suspect, where the counter was `crashes` before."""
        marks = {flight.mark for flight in self.flights}
        if Mark.SUSPECT in marks or (Mark.SLOW in marks and crash != KILLED):
            self.crashes = crashes + 1
        else:
            self.crashes = max(crashes, 1)


class Suspects:
    """The suspects of one queue."""

    __slots__ = ("_asked", "_by_id", "changed", "cleared")

    def __init__(self, flights: Iterable[Flight]) -> None:
        self._by_id: dict[QueueId, Suspect] = {}
        for flight in flights:
            suspect = self._by_id.setdefault(flight.id, Suspect(flight.id))
            suspect.flights.append(flight)
        self._asked: list[QueueId] = []
        self.changed = asyncio.Event()
        """Set where somebody was tried, or is due for a trial."""
        self.cleared: list[QueueId] = []
        """Who was tried and is no suspect any more; their counters are still to be set back."""

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def all(self) -> list[Suspect]:
        """Everybody who is suspected."""
        return list(self._by_id.values())

    def has(self, suspect: Suspect) -> bool:
        """Say whether somebody is still suspected."""
        return suspect.id in self._by_id

    def drop(self, suspect: Suspect) -> None:
        """Suspect somebody no longer: gone, held, or quarantined."""
        self._by_id.pop(suspect.id, None)

    def ask(self, suspect: Suspect) -> None:
        """Note that somebody is due for a trial."""
        if suspect.id not in self._asked:
            self._asked.append(suspect.id)
            self.changed.set()

    def next(self) -> Suspect | None:
        """Return whose turn it is: the one counted most, then the oldest message."""
        waiting = [one for one in map(self._by_id.get, self._asked) if one is not None]
        if not waiting:
            self._asked.clear()
            return None
        chosen = min(waiting, key=lambda one: (-one.crashes, one.id))
        self._asked.remove(chosen.id)
        return chosen

    def withholds(self, queue_id: QueueId, index: int) -> bool:
        """Say whether a due recipient must wait for a trial."""
        suspect = self._by_id.get(queue_id)
        if suspect is None or suspect.is_out:
            return False
        if suspect.untried is None:
            return True  # its crash is not counted yet; then it is asked for
        if index not in suspect.untried:
            return False
        self.ask(suspect)
        return True

    def mark(self, queue_id: QueueId, indexes: tuple[int, ...]) -> Mark:
        """Return what a crash shall find written of an attempt."""
        suspect = self._by_id.get(queue_id)
        if suspect is None or suspect.untried is None or suspect.untried.isdisjoint(indexes):
            return Mark.FRESH
        return Mark.SUSPECT

    def flies(self, queue_id: QueueId, place: int) -> None:
        """Note that a suspect's attempt begins, and where it is written."""
        self._by_id[queue_id].places.append(place)

    def tried(self, queue_id: QueueId, indexes: tuple[int, ...], place: int) -> None:
        """Note that a suspect's attempt came to an end."""
        suspect = self._by_id.get(queue_id)
        if suspect is None or suspect.untried is None:
            return
        suspect.places.remove(place)
        suspect.untried.difference_update(indexes)
        if not suspect.untried:
            self.drop(suspect)
            self.cleared.append(queue_id)
            self.changed.set()
