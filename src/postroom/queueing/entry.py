"""An entry: what one attempt will try, and the lane that it waits in.

Called by: queueing, engine.  Raises: nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from postroom.core.ids import QueueId
from postroom.shaping.allowance import Allowance


class LaneKey(NamedTuple):
    """Channel name and site; with a tenant: its part of the lane, in memory and in the store."""

    channel: str
    site: str
    tenant: str = ""

    @property
    def whole(self) -> LaneKey:
        """The lane itself."""
        return LaneKey(self.channel, self.site) if self.tenant else self


class Entry:
    """Some due recipients of one message, all of one lane; what one attempt will try."""

    __slots__ = (
        "allowance", "arrived_at", "cancelled", "cost", "due_at", "id", "indexes", "lane", "lead_s",
        "rank", "started", "started_at", "tenant",
    )  # fmt: skip

    def __init__(
        self,
        queue_id: QueueId,
        indexes: tuple[int, ...],
        lane: LaneKey,
        due_at: float,
        arrived_at: float,
        rank: int = 0,
        tenant: str = "",
        cost: int = 1,
    ) -> None:
        """`rank` 0 goes first. `cost` is how much of its turn a tenant uses up with it."""
        self.tenant = tenant
        self.cost = cost
        self.lead_s = 0.0
        """It counts as due so much earlier than it is, among its rank."""
        self.rank = rank
        self.id = queue_id
        self.indexes = indexes
        self.lane = lane
        self.due_at = due_at
        self.arrived_at = arrived_at
        self.cancelled = False
        self.started = False
        self.started_at = 0.0
        self.allowance: Allowance | None = None
        """What its attempt may use, where that is limited."""

    def __repr__(self) -> str:
        return f"Entry({self.id}, {self.indexes}, {self.lane})"
