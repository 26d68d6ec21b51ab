"""New mail and its parts: what is for each group of queues is a message of its own.

Values only.  Called by: engine.distributor, peer.neighbours.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Provenance
from postroom.groups.policy import GroupPolicy


class Mail(msgspec.Struct, frozen=True):
    """What all parts of a message share; see ingress.acceptor.Acceptor.accept."""

    content: tuple[bytes, ...]
    provenance: Provenance
    arrived_at: float = 0.0
    hold: str = ""


class Part(msgspec.Struct, frozen=True):
    """What goes to one group."""

    id: QueueId
    group: GroupPolicy
    envelope: Envelope
