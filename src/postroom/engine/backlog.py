"""What waits in the store: how far it was walked, and where it must be walked again.

The store is walked in the order of due times. Mail that finds no room in memory is left
there and remembered here: as a domain that has more (its lane is full), or by stepping the
walk back (memory is full).

Pure. Guarantees: 1. a due recipient that is not active is at or after the walk's place, or
its domain is among those that have more. 2. a fresh start from `restart` finds everything.
Called by: engine.walk.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.ids import QueueId
from postroom.spool.store import DueKey


class Backlog:
    """Places in the order of due mail."""

    __slots__ = (
        "_domains",
        "_left",
        "_left_in",
        "_place",
        "_reading",
        "_restarted",
        "_touched",
        "exhausted",
    )

    def __init__(self) -> None:
        self._place: DueKey | None = None
        self._domains: dict[str, DueKey | None] = {}
        self._reading = False
        self._touched: set[QueueId] = set()
        self._left: DueKey | None = None
        self._left_in: dict[str, DueKey] = {}
        self._restarted = False
        self.exhausted = False
        """True once the walk has found nothing more that is due."""

    @property
    def place(self) -> DueKey | None:
        """The walk goes on after this key; None is the start."""
        return self._place

    @property
    def domains(self) -> tuple[str, ...]:
        """Domains that have more mail in the store than found room."""
        return tuple(self._domains)

    def place_in(self, domain: str) -> DueKey | None:
        """The walk of one domain goes on after this key."""
        return self._domains.get(domain)

    def has(self, domain: str) -> bool:
        """True where a domain has more mail in the store."""
        return domain in self._domains

    def advance(self, last: DueKey | None, *, ended: bool) -> None:
        """A page was read up to `last` (None: it was empty), or to the end of what is due."""
        if self._restarted:
            return
        if last is not None and (self._place is None or last > self._place):
            self._place = last
        self.exhausted = ended
        if self._left is not None:
            self._step_back(self._left)

    def advance_in(self, domain: str, last: DueKey | None, *, ended: bool) -> None:
        """A page of one domain was read up to `last`; at the end it has no more."""
        if self._restarted:
            return
        left = self._left_in.get(domain)
        if ended and left is None:
            self._domains.pop(domain, None)
            return
        if last is not None:
            self._domains[domain] = last
        if left is not None:
            self._step_back_in(domain, left)

    def left(self, due_at: float, queue_id: QueueId, index: int) -> None:
        """A due recipient found no room in memory: step the walk back before it."""
        before = DueKey(due_at, queue_id, index - 1)
        if self._reading:
            self._left = before if self._left is None else min(before, self._left)
        self._step_back(before)

    def left_in(self, domain: str, due_at: float, queue_id: QueueId, index: int) -> None:
        """A due recipient found no room in its lane: its domain has more."""
        before = DueKey(due_at, queue_id, index - 1)
        if self._reading:
            self._left_in[domain] = min(before, self._left_in.get(domain, before))
        if domain in self._domains:
            self._step_back_in(domain, before)
        else:
            # The walk of everything leaves the domain out from now on, so what it has not come
            # to yet is found here.
            place = self._place
            self._domains[domain] = None if place is None else min(place, before)

    def _step_back(self, before: DueKey) -> None:
        if self._place is not None and before < self._place:
            self._place = before
        self.exhausted = False

    def _step_back_in(self, domain: str, before: DueKey) -> None:
        place = self._domains[domain]
        if place is not None and before < place:
            self._domains[domain] = before

    def left_if_walked(self, domain: str, due_at: float, queue_id: QueueId, index: int) -> None:
        """Step back the walk of a domain, where it has one."""
        if domain in self._domains:
            self.left_in(domain, due_at, queue_id, index)

    def restart(self) -> None:
        """Walk everything from the start: due times were changed behind the walk."""
        self._place = None
        self.exhausted = False
        self._restarted = True
        for domain in self._domains:
            self._domains[domain] = None

    # While a page is read, changes become durable that are not in it. A message of the page
    # that was settled meanwhile must not be believed, or it would be delivered twice; what was
    # left in the store meanwhile must not be passed by, or it would wait for the next rescan.

    def begin_page(self) -> None:
        """A page of the store is being read."""
        self._reading = True
        self._restarted = False
        self._touched.clear()
        self._left = None
        self._left_in.clear()

    def touch(self, queue_id: QueueId) -> None:
        """A message changed in the store."""
        if self._reading:
            self._touched.add(queue_id)

    def end_page(self) -> frozenset[QueueId]:
        """Return the messages of the page that may be stale."""
        self._reading = False
        return frozenset(self._touched)
