"""Looks that cost something: how often one is taken, whoever asks and however often.

Owns the newest value and when the next may be made. What is cheap is made anew for each question;
else the newest value is given at once, and another is begun if looking takes no more than a
share of the time.

Guarantees: 1. nothing is done while nobody asks.  2. all looks of one kind together take about
their share of the time.  3. one look at a time.  4. nobody waits longer than FIRST_WAIT_S.
Called by: engine.survey.  Raises: what making a value raises, where there is none yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

FIRST_WAIT_S = 0.5
"""So long is waited where there is no value yet: who asks has others to ask as well."""


class Look(Generic[T]):
    """One kind of look."""

    __slots__ = (
        "_failure", "_make", "_making", "_next_at", "_share", "_wait_s", "cost_s", "value",
    )  # fmt: skip

    def __init__(self, make: Callable[[], Awaitable[T]], share: float, wait_s: float) -> None:
        """`make` makes a value; who asks waits for one that takes `wait_s` or less."""
        self._make = make
        self._share = share
        self._wait_s = wait_s
        self._next_at = float("-inf")
        self._making: asyncio.Task[None] | None = None
        self.value: T | None = None
        self.cost_s = 0.0
        """What the newest took."""
        self._failure: Exception | None = None

    async def get(self) -> T | None:
        """Return the newest value, None where there is none yet; see to the next."""
        now = asyncio.get_running_loop().time()
        if self._making is None and now >= self._next_at:
            self._making = asyncio.create_task(self._made())
        if self._making is not None and (self.value is None or self.cost_s <= self._wait_s):
            # Whoever asked may go away: the look is for others as well.
            await asyncio.wait((self._making,), timeout=FIRST_WAIT_S)
        if self.value is None and self._failure is not None:
            raise self._failure
        return self.value

    def drop(self) -> None:
        """Nobody asks any more."""
        if self._making is not None:
            self._making.cancel()

    async def _made(self) -> None:
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        try:
            self.value = await self._make()
            self._failure = None
        except Exception as error:
            # What was seen before is given, with its time, until looking works again.
            self._failure = error
        finally:
            self.cost_s = loop.time() - began_at
            self._next_at = began_at + self.cost_s / self._share
            self._making = None
