"""Bounded answers."""

from __future__ import annotations

import asyncio

import pytest

from postroom.core.clock import ManualClock
from postroom.routing.cache import AnswerCache, Flights


def test_the_oldest_answers_make_room() -> None:
    cache: AnswerCache[int, str] = AnswerCache(ManualClock(), 32)
    for number in range(1000):
        cache.put(number, str(number), 60)
        assert len(cache) <= 32
    assert cache.peek(999) == "999"
    assert cache.peek(1) is None


def test_closing_cancels_what_is_under_way() -> None:
    async def scene() -> None:
        flights: Flights[str, int] = Flights()

        async def never() -> int:
            await asyncio.Event().wait()
            return 1

        waiting = asyncio.create_task(flights.join("x", never))
        await asyncio.sleep(0)
        await flights.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scene())
