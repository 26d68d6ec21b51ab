"""Mail in memory: the messages of which some recipients are queued or in flight.

Owns the bound on active recipients. One lane may take only a part of the room that is
left (dynamic thresholds, Choudhury and Hahne 1998), so that lanes which do not move can
never fill memory and keep the mail of others out. What finds no room stays in the store.

Guarantees: 1. a recipient is active at most once. 2. a message stays until its last
settlement is durable, so that a walk of the store cannot bring it in a second time.
Called by: engine.pump, engine.settle.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.ids import QueueId
from postroom.core.message import (
    Envelope,
    MemoryContent,
    Provenance,
    Recipient,
    RecipientStatus,
)
from postroom.queueing.lane import Entry

LANE_MIN = 20
"""Recipients a lane may always have in memory, so that the last room is still shared."""

LOW_SHARE = 0.75
"""Part of all room that mail of lower ranks may fill: what goes first finds room at once."""

NOWHERE = Provenance()

LANE_SHARE = 0.5
"""Part of the free room that one lane may take."""


class ActiveMessage:
    """One message with recipients in memory."""

    __slots__ = (
        "arrived_at",
        "content",
        "entries",
        "envelope",
        "id",
        "is_forgotten",
        "kind",
        "live",
        "priority",
        "provenance",
        "rank",
        "recipients",
        "since",
        "size_octets",
        "statuses",
        "tenant",
    )

    def __init__(
        self, queue_id: QueueId, arrived_at: float, envelope: Envelope, size_octets: int, live: int
    ) -> None:
        self.id = queue_id
        self.arrived_at = arrived_at
        self.since = envelope.begins_at(arrived_at)
        """When its lifetime began: on arrival, or when it was released."""
        self.envelope = envelope
        self.size_octets = size_octets
        self.live = live
        """Recipients of the whole message that are not final, in memory or not."""
        self.priority = 0 if envelope.terms is None else envelope.terms.priority
        """What it asks for (RFC 6710); more is more urgent."""
        self.rank = 0
        """Of its class: 0 goes first."""
        self.kind = 0
        """Which rules about messages hold for it; see engine.kinds."""
        self.tenant = ""
        """Whose mail it is, where tenants are told apart."""
        self.provenance = NOWHERE
        self.content: MemoryContent | None = None
        self.entries: list[Entry] = []
        """Entries that have not started."""
        self.is_forgotten = False
        """True once an operator changed it: what is in flight does not wait here again."""
        self.recipients: dict[int, Recipient] = {}
        self.statuses: dict[int, RecipientStatus] = {}
        """By index, side by side with `recipients`: the active ones only."""


class ActiveTable:
    """All active messages of one queue."""

    __slots__ = (
        "_active_max",
        "_content_max_octets",
        "_content_octets",
        "_lane_max",
        "_messages",
        "_recipients",
    )

    def __init__(self, active_max: int, lane_max: int, content_max_octets: int) -> None:
        self._active_max = active_max
        self._lane_max = lane_max
        self._content_max_octets = content_max_octets
        self._content_octets = 0
        self._recipients = 0
        self._messages: dict[QueueId, ActiveMessage] = {}

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def recipients(self) -> int:
        """Active recipients."""
        return self._recipients

    @property
    def room(self) -> int:
        """Recipients that may still become active."""
        return self._active_max - self._recipients

    def room_of(self, rank: int) -> int:
        """Recipients that may still become active, of mail of a rank; 0 goes first."""
        if rank == 0:
            return self.room
        return int(self._active_max * LOW_SHARE) - self._recipients

    def lane_room(self, lane_recipients: int) -> int:
        """Recipients one lane may still add, where it has `lane_recipients` already."""
        free = self._active_max - self._recipients
        share = min(self._lane_max, max(LANE_MIN, int(free * LANE_SHARE)))
        return min(free, share - lane_recipients)

    def resize(self, active_max: int, lane_max: int, content_max_octets: int) -> None:
        """Put new bounds in force; what is active stays."""
        self._active_max = active_max
        self._lane_max = lane_max
        self._content_max_octets = content_max_octets

    def get(self, queue_id: QueueId) -> ActiveMessage | None:
        """Return an active message."""
        return self._messages.get(queue_id)

    def open(
        self, queue_id: QueueId, arrived_at: float, envelope: Envelope, size_octets: int, live: int
    ) -> ActiveMessage:
        """Return the active message of this id, made where there is none."""
        message = self._messages.get(queue_id)
        if message is None:
            message = ActiveMessage(queue_id, arrived_at, envelope, size_octets, live)
            self._messages[queue_id] = message
        return message

    def add(self, message: ActiveMessage, recipient: Recipient, status: RecipientStatus) -> bool:
        """Make a recipient active; False where it is already."""
        if status.index in message.statuses:
            return False
        message.recipients[status.index] = recipient
        message.statuses[status.index] = status
        self._recipients += 1
        return True

    def keep_content(self, message: ActiveMessage, parts: tuple[bytes, ...]) -> None:
        """Keep fresh content in memory for the first attempt, where the budget allows."""
        size = message.size_octets
        if self._content_octets + size <= self._content_max_octets:
            message.content = MemoryContent(parts)
            self._content_octets += size

    def remove(self, message: ActiveMessage, indexes: tuple[int, ...]) -> None:
        """Take recipients out; the message goes with its last one."""
        for index in indexes:
            if message.statuses.pop(index, None) is not None:
                del message.recipients[index]
                self._recipients -= 1
        if not message.statuses:
            if message.content is not None:
                self._content_octets -= message.size_octets
                message.content = None
            if self._messages.get(message.id) is message:
                del self._messages[message.id]
