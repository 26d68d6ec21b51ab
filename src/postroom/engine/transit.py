"""Mail in transit between two queues: held, and by whose word it goes on.

A message moves in steps, each durable, so that a kill at any moment leaves one live copy:

    old queue                                   new queue
    1. held: "moving to queue2 [identity]"      absent
    2. as before                                held: "arriving from queue1 [identity]"
    3. deleted: this is the moment of the move  as before
    4.                                          live, or held as it was before

Until 3 the old queue is right: the new one's copy is not live, and taken in again without
harm. After 3 the new queue is, and learns it from the old one, at once or when it asks.
What is in transit is marked by the reason of its hold, which people see as well.

Owns the form of that reason.
Called by: engine.holds, engine.mover, engine.arrivals, engine.steering.  Raises: nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import AsyncIterator

import msgspec

from postroom.core.clock import Clock
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.engine.unconfirmed import is_unconfirmed, unconfirmed
from postroom.spool.store import HELD, Store

SCAN_MESSAGES = 500
_REASON = re.compile(
    r"(moving to|arriving from) queue([0-9]+) \[([0-9a-f-]{36})\](?:; before: (.*))?", re.DOTALL
)


class Place(msgspec.Struct, frozen=True):
    """One queue of this server: its number, and the identity that tells it from all others."""

    number: int
    identity: str

    def __str__(self) -> str:
        return f"queue{self.number}"


class Direction(enum.StrEnum):
    """Which of the two queues speaks."""

    MOVING = "moving to"
    ARRIVING = "arriving from"


class Transit(msgspec.Struct, frozen=True):
    """A message is on its way to, or from, another queue; `before` held it before that."""

    direction: Direction
    other: Place
    before: str = ""

    @property
    def reason(self) -> str:
        """The reason of the hold."""
        text = f"{self.direction} {self.other} [{self.other.identity}]"
        return f"{text}; before: {self.before}" if self.before else text


def transit_of(hold: str) -> Transit | None:
    """Return what the reason of a hold says about a transit, None where there is none."""
    found = _REASON.fullmatch(hold) if hold else None
    if found is None:
        return None
    direction, number, identity, before = found.groups()
    return Transit(Direction(direction), Place(int(number), identity), before or "")


def held_anew(hold: str, reason: str) -> str:
    """Return the reason of the hold of a message, so held, that is to be held for `reason`.

    On its way between queues it stays so, and what is not confirmed stays that: dropped, it is
    gone; confirmed, it is held for the new reason.
    """
    transit = transit_of(hold)
    if transit is None:
        return unconfirmed(reason) if is_unconfirmed(hold) else reason
    return msgspec.structs.replace(transit, before=held_anew(transit.before, reason)).reason


async def in_transit(store: Store, clock: Clock) -> AsyncIterator[tuple[StoredMessage, Transit]]:
    """Give all messages of a queue that are in transit: those of held ones."""
    after: QueueId | None = None
    while store.counts().held:
        page = await store.select(HELD, clock.now(), SCAN_MESSAGES, after)
        for message in page:
            transit = transit_of(message.hold)
            if transit is not None:
                yield message, transit
        if len(page) < SCAN_MESSAGES:
            return
        after = page[-1].id
