"""New mail leaves the reserve alone, whatever was said of its size."""

from __future__ import annotations

import pytest

from postroom.core.errors import StoreFull
from postroom.spool.memory import MemoryStore
from tests.sim.loop import run
from tests.support.engine import Bench, ScriptedAgent


def test_mail_that_finds_no_room_once_its_size_is_known_is_refused_and_not_written() -> None:
    async def test() -> None:
        bench = Bench(ScriptedAgent(), store=MemoryStore(capacity_octets=40))
        assert bench.engine.intake.ready(0) is None
        assert bench.engine.intake.ready(41) is not None
        await bench.put("a@d1.test")
        with pytest.raises(StoreFull) as refused:
            await bench.put("b@d1.test")
        assert str(refused.value.reply).startswith("452 4.3.1")
        assert bench.store.counts().messages == 1

    run(test())
