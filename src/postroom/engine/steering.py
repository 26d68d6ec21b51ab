"""What an operator can do with messages, with or without a running engine.

Called by: control.mail_commands.  Raises: StoreUnavailable.
"""

from __future__ import annotations

from typing import Protocol

from postroom.core.ids import QueueId


class ActiveMail(Protocol):
    """The part of a running engine that must hear of an operator's verbs."""

    def forget(self, ids: tuple[QueueId, ...]) -> None:
        """Take messages out of memory; attempts in flight end as they may."""
        ...

    def wake(self) -> None:
        """Look at the store again, from the start."""
        ...
