"""Returning mail: an operator gives up on messages, and their senders hear of it.

What waits of a message fails with the operator's reply, and the DSN is owed as after any
failure. What is in flight ends as it may: it may just be being taken.

Guarantees: 1. what failed and its DSN became durable in one commit. 2. mail in transit between
queues is left alone: the other queue may have it.
Called by: engine.steering.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from postroom.core.ids import QueueId
from postroom.core.message import Outcome, OutcomeKind, StoredMessage
from postroom.core.reply import Reply
from postroom.engine.active import ActiveMessage, ActiveTable
from postroom.engine.judgement import Case
from postroom.engine.kinds import Kinds
from postroom.engine.parts import Parts
from postroom.engine.settle import Settler
from postroom.engine.transit import transit_of
from postroom.engine.unconfirmed import is_unconfirmed

POLL_S = 0.01
DURABLE_S = 30.0
"""How long a verb waits for what it settled; a disk that fails is tried until it works."""
TEXT_MAX = 200


def returned(reason: str) -> Reply:
    """Return the reply that mail which an operator gave up fails with."""
    # It stands in a DSN, which is 7-bit where it can be.
    said = "".join(one if one.isprintable() else " " for one in reason[:TEXT_MAX])
    said = said.encode("ascii", "replace").decode()
    # RFC 3463 §3.4: 5.3.0, other or undefined mail system status.
    return Reply(550, "5.3.0", "returned by the operator" + (f": {said}" if said else ""))


class Bouncer:
    """Fails the mail of one queue at an operator's word."""

    def __init__(self, parts: Parts, table: ActiveTable, settler: Settler, kinds: Kinds) -> None:
        self._router = parts.router
        self._kinds = kinds
        self._table = table
        self._settler = settler

    async def bounce(self, messages: Sequence[StoredMessage], reply: Reply) -> int:
        """Fail what waits of messages that were taken out of memory; return how many had such."""
        settled: list[tuple[QueueId, list[int]]] = []
        async with asyncio.TaskGroup() as settlements:
            for message in messages:
                if transit_of(message.hold) is not None or is_unconfirmed(message.hold):
                    continue
                by_domain = self._take(message)
                if not by_domain:
                    continue
                active = self._table.get(message.id)
                assert active is not None
                settled.append((message.id, [one for some in by_domain.values() for one in some]))
                active.kind, active.tenant = self._kinds.sort(message.envelope, message.provenance)
                for domain, indexes in by_domain.items():
                    # Side by side: the failures of one message wait for one another.
                    settlements.create_task(self._fail(active, domain, indexes, reply))
        await self._durable(settled)
        return len(settled)

    def _take(self, message: StoredMessage) -> dict[str, list[int]]:
        """Make active what waits and is not in flight; return it by domain."""
        by_domain: dict[str, list[int]] = {}
        active = self._table.open(
            message.id, message.arrived_at, message.envelope, message.size_octets,
            message.live_count,
        )  # fmt: skip
        for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True):
            if not status.state.is_final and self._table.add(active, recipient, status):
                by_domain.setdefault(recipient.domain.lower(), []).append(status.index)
        if not active.statuses:
            self._table.remove(active, ())
        return by_domain

    async def _fail(
        self, active: ActiveMessage, domain: str, indexes: list[int], reply: Reply
    ) -> None:
        channel = self._router.channel_of(domain, active.kind)
        case = Case(
            active.id,
            active.since,
            active.envelope.reverse_path,
            channel,
            domain,
            tenant=active.tenant,
        )
        outcome = Outcome(OutcomeKind.FAILED, reply)
        await self._settler.settle(active, case, [(index, outcome) for index in indexes])

    async def _durable(self, settled: list[tuple[QueueId, list[int]]]) -> None:
        """Return once what was settled has left memory, which it does when it is durable."""
        until = asyncio.get_running_loop().time() + DURABLE_S
        for queue_id, indexes in settled:
            while asyncio.get_running_loop().time() < until:
                active = self._table.get(queue_id)
                if active is None or not any(index in active.statuses for index in indexes):
                    break
                await asyncio.sleep(POLL_S)
