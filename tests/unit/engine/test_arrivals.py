"""Mail that came from another queue goes on once that queue surely has it no more."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from postroom.core.message import Envelope, Provenance, Recipient, RecipientStatus, StoredMessage
from postroom.core.reply import Reply
from postroom.engine.arrivals import ASK_S, Arrivals
from postroom.engine.holds import Holds
from postroom.engine.peers import Moved, PeerLost, Standing
from postroom.engine.transit import Place
from tests.sim.loop import run
from tests.support.engine import Bench, ScriptedAgent

GONE, SILENT, OWN = (Place(number, str(uuid.UUID(int=number))) for number in (1, 2, 3))


class NobodyAnswers:
    """Queues that are gone, for good or for a while (engine.peers.Peers)."""

    async def arrive(self, to: Place, moved: Moved, content: tuple[bytes, ...]) -> Reply | None:
        raise PeerLost(f"{to} is not there")

    async def let_go(self, to: Place, ids: tuple[str, ...]) -> None:
        raise PeerLost(f"{to} is not there")

    async def ask(self, to: Place, ids: tuple[str, ...]) -> Standing:
        raise PeerLost(f"{to} is not there")


@pytest.mark.seed(50)
def test_mail_of_a_queue_that_was_retired_goes_on_also_where_its_last_word_was_lost() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent())
        bench.engine.start()
        arrivals = Arrivals(
            bench.parts, OWN, bench.engine.intake, bench.engine, NobodyAnswers(),
            Holds(bench.store, bench.clock),
        )  # fmt: skip
        arrivals.is_retired = lambda place: place.identity == GONE.identity
        asking = asyncio.create_task(arrivals.run())
        for origin in (GONE, SILENT):
            moved = Moved(message_of(bench, f"r{origin.number}@d1.test"), "")
            assert await arrivals.arrive(origin, OWN.identity, moved, (b"\r\n",)) is None
        assert bench.store.counts().held == 2
        await asyncio.sleep(ASK_S * 3)
        assert bench.agent.recipients == ["r1@d1.test"]
        assert bench.store.counts().held == 1, "the other may be back, with the mail in it"
        asking.cancel()
        await bench.engine.stop(1)

    run(scene())


def message_of(bench: Bench, recipient: str) -> StoredMessage:
    now = bench.clock.now()
    return StoredMessage(
        bench.engine.intake.new_id(), now, Envelope("me@home.test", (Recipient(recipient),)),
        (RecipientStatus(0, due_at=now),), 1, 1, 2, Provenance(),
    )  # fmt: skip
