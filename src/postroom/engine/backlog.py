"""What waits in the store: how far it was walked, and where it must be walked again.

The store is walked in the order of due times. Mail that finds no room in memory is left
there and remembered here: as a lane that has more, with the domains whose mail it is, or by
stepping the walk back (memory is full). A lane that has more is walked alone, from a place of
its own, and the walk of everything leaves its domains out.

Where rules about messages send the mail of one domain to several lanes, that domain is shared:
each lane is walked for its own part, and the walk of everything does not leave it out, or a
lane that stands still would keep the mail of the others from being found.

Pure. Guarantees: 1. a due recipient that is not active is at or after the walk's place, or
its domain belongs to a lane that has more, or it is shared and at or after the place of its
lane. 2. a fresh start from `restart` finds everything.
Called by: engine.walk, engine.admission.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.ids import QueueId
from postroom.queueing.lane import LaneKey
from postroom.spool.store import DueKey


class _Lane:
    """A lane that has more mail in the store than found room."""

    __slots__ = ("domains", "place")

    def __init__(self, place: DueKey | None) -> None:
        self.place = place
        self.domains: dict[str, None] = {}


class Backlog:
    """Places in the order of due mail."""

    __slots__ = (
        "_lane_of",
        "_lanes",
        "_left",
        "_left_in",
        "_place",
        "_reading",
        "_restarted",
        "_touched",
        "exhausted",
        "full",
    )

    def __init__(self) -> None:
        self._place: DueKey | None = None
        self._lanes: dict[LaneKey, _Lane] = {}
        self._lane_of: dict[str, LaneKey] = {}
        self._reading = False
        self._touched: set[QueueId] = set()
        self._left: DueKey | None = None
        self._left_in: dict[LaneKey, DueKey] = {}
        self._restarted = False
        self.exhausted = False
        """True once the walk has found nothing more that is due."""
        self.full = False
        """True from when memory had no room for something until the walk has caught up."""

    @property
    def place(self) -> DueKey | None:
        """The walk goes on after this key; None is the start."""
        return self._place

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of all lanes that have more."""
        return tuple(self._lane_of)

    @property
    def lanes(self) -> tuple[LaneKey, ...]:
        """Lanes that have more mail in the store than found room."""
        return tuple(self._lanes)

    def has(self, lane: LaneKey) -> bool:
        """True where a lane has more mail in the store."""
        return lane in self._lanes

    def has_domain(self, domain: str) -> bool:
        """True where a domain belongs to a lane that has more."""
        return domain in self._lane_of

    def domains_in(self, lane: LaneKey) -> tuple[str, ...]:
        """The domains that have more mail for a lane."""
        return tuple(self._lanes[lane].domains)

    def place_in(self, lane: LaneKey) -> DueKey | None:
        """The walk of one lane goes on after this key."""
        return self._lanes[lane].place

    def advance(self, last: DueKey | None, *, ended: bool) -> None:
        """A page was read up to `last` (None: it was empty), or to the end of what is due."""
        if self._restarted:
            return
        if last is not None and (self._place is None or last > self._place):
            self._place = last
        self.exhausted = ended
        if self._left is not None:
            self._step_back(self._left)
        elif ended:
            self.full = False

    def advance_in(self, lane: LaneKey, last: DueKey | None, *, ended: bool) -> None:
        """A page of one lane was read up to `last`; at the end it has no more."""
        if self._restarted:
            return
        left = self._left_in.get(lane)
        behind = self._lanes.get(lane)
        if behind is None:
            return  # its last domain has gone to another lane
        if ended and left is None:
            del self._lanes[lane]
            for domain in behind.domains:
                if self._lane_of.get(domain) == lane:
                    del self._lane_of[domain]
            return
        if last is not None:
            behind.place = last
        if left is not None:
            behind.place = _earlier(behind.place, left)

    def left(self, due_at: float, queue_id: QueueId, index: int) -> None:
        """A due recipient found no room in memory: step the walk back before it."""
        before = DueKey(due_at, queue_id, index - 1)
        if self._reading:
            self._left = before if self._left is None else min(before, self._left)
        self.full = True
        self._step_back(before)

    def left_in(
        self,
        lane: LaneKey,
        domain: str,
        due_at: float,
        queue_id: QueueId,
        index: int,
        *,
        shared: bool = False,
    ) -> None:
        """A due recipient found no room in its lane, or has to wait for others of it."""
        before = DueKey(due_at, queue_id, index - 1)
        if self._reading:
            self._left_in[lane] = min(before, self._left_in.get(lane, before))
        behind = self._lanes.get(lane)
        if behind is None:
            behind = self._lanes[lane] = _Lane(before)
        known = self._lane_of.get(domain)
        if shared:
            behind.domains[domain] = None
        elif known != lane:
            # The walk of everything leaves the domain out from now on, so what it has not come
            # to yet is found here; likewise what was left where the domain belonged before.
            behind.place = _earlier(behind.place, self._place)
            if known is not None:
                behind.place = _earlier(behind.place, self._lanes[known].place)
                self._take_out(domain, known)
            self._lane_of[domain] = lane
            behind.domains[domain] = None
        behind.place = _earlier(behind.place, before)

    def left_if_walked(self, domain: str, due_at: float, queue_id: QueueId, index: int) -> None:
        """Step back the walk of the lane that a domain belongs to, where it has one."""
        lane = self._lane_of.get(domain)
        if lane is not None:
            self.left_in(lane, domain, due_at, queue_id, index)

    def is_ahead(self, due_at: float, queue_id: QueueId, index: int) -> bool:
        """Say whether the walk of everything has yet to come to a recipient."""
        # At its end it stays where it is, and does not come to what arrived since then.
        if self.exhausted:
            return False
        return self._place is None or DueKey(due_at, queue_id, index) > self._place

    def forget_lanes(self) -> None:
        """Walk everything from the start, in one walk: other rules are in force."""
        self._lanes.clear()
        self._lane_of.clear()
        self.restart()

    def restart(self) -> None:
        """Walk everything from the start: due times were changed behind the walk."""
        self._place = None
        self.exhausted = False
        self._restarted = True
        for lane in self._lanes.values():
            lane.place = None

    def _step_back(self, before: DueKey) -> None:
        self._place = _earlier(self._place, before)
        self.exhausted = False

    def _take_out(self, domain: str, lane: LaneKey) -> None:
        del self._lanes[lane].domains[domain]
        if not self._lanes[lane].domains:
            del self._lanes[lane]

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


def _earlier(one: DueKey | None, other: DueKey | None) -> DueKey | None:
    """Return the place that comes first; None is the start."""
    return None if one is None or other is None else min(one, other)
