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

    __slots__ = ("_domains", "_place", "_reading", "_touched", "exhausted")

    def __init__(self) -> None:
        self._place: DueKey | None = None
        self._domains: dict[str, DueKey | None] = {}
        self._reading = False
        self._touched: set[QueueId] = set()
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

    def advance(self, key: DueKey | None) -> None:
        """The walk has come to `key` (None: it read nothing)."""
        if key is not None and (self._place is None or key > self._place):
            self._place = key

    def advance_in(self, domain: str, key: DueKey | None) -> None:
        """The walk of one domain has come to `key`, or to its end: it has no more."""
        if key is None:
            self._domains.pop(domain, None)
        else:
            self._domains[domain] = key

    def left(self, due_at: float, queue_id: QueueId, index: int) -> None:
        """A due recipient found no room in memory: step the walk back before it."""
        before = DueKey(due_at, queue_id, index - 1)
        if self._place is not None and before < self._place:
            self._place = before
        self.exhausted = False

    def left_in(self, domain: str, due_at: float, queue_id: QueueId, index: int) -> None:
        """A due recipient found no room in its lane: its domain has more."""
        before = DueKey(due_at, queue_id, index - 1)
        if domain not in self._domains:
            self._domains[domain] = before
            return
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
        for domain in self._domains:
            self._domains[domain] = None

    # A page that was read while a settlement became durable may show the message as it was
    # before; believing it would deliver twice.

    def begin_page(self) -> None:
        """A page of the store is being read."""
        self._reading = True
        self._touched.clear()

    def touch(self, queue_id: QueueId) -> None:
        """A message changed in the store."""
        if self._reading:
            self._touched.add(queue_id)

    def end_page(self) -> frozenset[QueueId]:
        """Return the messages of the page that may be stale."""
        self._reading = False
        return frozenset(self._touched)
