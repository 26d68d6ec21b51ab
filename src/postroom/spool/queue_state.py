"""The four states of a queue, as an operator sets them.

A state is kept in the manifest, so it holds over every restart until it is set anew. What a
worker does at the moment (it starts, it failed) is another matter; see observe.board.

Called by: spool, supervisor, control, cli.  Raises: nothing.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final


class QueueState(enum.StrEnum):
    """What a queue may do."""

    ENABLED = "enabled"
    """Takes mail and delivers it."""
    HELD = "held"
    """Takes mail and keeps it: nothing is attempted."""
    DRAINING = "draining"
    """Takes nothing new, and delivers what it has."""
    OFFLINE = "offline"
    """Not opened at all: its disk may be taken away."""

    @property
    def takes_mail(self) -> bool:
        """True where new mail may go there."""
        return self in (QueueState.ENABLED, QueueState.HELD)

    @property
    def delivers(self) -> bool:
        """True where attempts are made."""
        return self in (QueueState.ENABLED, QueueState.DRAINING)


QUEUE_VERBS: Final = MappingProxyType(
    {
        "enable": QueueState.ENABLED,
        "hold": QueueState.HELD,
        "drain": QueueState.DRAINING,
        "offline": QueueState.OFFLINE,
    }
)
"""The operator's verbs and what they lead to."""
