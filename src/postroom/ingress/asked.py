"""Mail from the maildrop is shown to the policy file as well.

Nobody waits for an answer any more: mail that is to be refused is held, with the reply as the
reason, for an operator to see.
Called by: spool.maildrop.  Raises: nothing; failures are in the future.
"""

from __future__ import annotations

import asyncio

from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Provenance
from postroom.core.reply import Reply
from postroom.hooks.runner import Hooks
from postroom.hooks.values import Client, Message
from postroom.ingress.acceptor import Acceptor
from postroom.ingress.handover import refusal_of


class AskedAcceptor:
    """An acceptor behind the policy file; satisfies spool.maildrop.Taker."""

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor
        self.hooks: Hooks | None = None
        """The policy file's, where there is one."""

    def ready(self, size_octets: int) -> Reply | None:
        """Say whether mail of this size is taken now; None means yes."""
        return self._acceptor.ready(size_octets)

    def accept(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        *,
        repeated: bool = False,
        arrived_at: float = 0.0,
        hold: str = "",
    ) -> asyncio.Future[None]:
        """Keep a message; see ingress.acceptor.Acceptor."""
        if self.hooks is not None:
            # Our Received header, the first part, is no matter of the policy.
            answer = self.hooks.message(
                Message(
                    Client("", provenance.listener, provenance.user), envelope.reverse_path,
                    [one.address for one in envelope.recipients], content[1:],
                )
            )  # fmt: skip
            if isinstance(answer, Reply):
                if answer.is_transient:
                    return refusal_of(answer)  # the file stays and is tried again
                hold = hold or f"refused by the policy file: {answer}"
            elif answer is not None:
                hold = hold or answer.reason
        return self._acceptor.accept(
            queue_id, envelope, content, provenance,
            repeated=repeated, arrived_at=arrived_at, hold=hold,
        )  # fmt: skip
