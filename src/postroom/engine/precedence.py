"""Which mail goes before other: the rank of its class, and the lead of its priority.

Owns the classes in force, and what each level of the priority that mail asks for is worth
(RFC 6710): it counts as due so much earlier than it is. Nothing ever waits behind mail that
came later than that, so no mail waits for ever.

Called by: engine.admission, engine.engine.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.message import Envelope, Provenance
from postroom.engine.active import ActiveMessage, ActiveTable
from postroom.engine.backlog import Backlog
from postroom.groups.classes import ClassTable
from postroom.queueing.lane import LaneKey

AHEAD_DIVISOR = 5
"""A fifth of what a lane has in memory may be mail that went before what waits in the store."""


class Precedence:
    """Ranks and leads of the mail of one queue."""

    def __init__(self, table: ActiveTable, backlog: Backlog) -> None:
        self._table = table
        self._backlog = backlog
        self._classes = ClassTable()
        self._lead_s = 0.0

    def reconfigure(self, classes: ClassTable, lead_s: float) -> None:
        """Put other classes in force, and another lead for each level of priority."""
        self._classes = classes
        self._lead_s = lead_s

    def rank(self, envelope: Envelope, provenance: Provenance) -> int:
        """Return the rank of a message: 0 goes first."""
        terms = envelope.terms
        return self._classes.rank(
            envelope.reverse_path, provenance.listener, provenance.user,
            0 if terms is None else terms.priority,
        )  # fmt: skip

    def is_urgent(self, rank: int) -> bool:
        """Say whether mail of a rank goes first, where there are several."""
        return rank == 0 and not self._classes.is_single

    def lead_s(self, active: ActiveMessage) -> float:
        """Return how much earlier than it is mail counts as due."""
        return self._lead_s * active.priority

    def goes_ahead(
        self, active: ActiveMessage, lane: LaneKey, domain: str, due_at: float, size: int
    ) -> bool:
        """Say whether mail goes before what waits in the store, or finds no room, by its lead.

        `size` is how many recipients its lane has in memory.
        """
        lead_s = self._lead_s * active.priority
        if lead_s <= 0 or self._table.lane_room(size - size // AHEAD_DIVISOR) <= 0:
            return False
        if not self._backlog.has(lane):
            return not self._backlog.has_domain(domain)
        place = self._backlog.place_in(lane)
        return place is not None and due_at - lead_s < place.due_at
