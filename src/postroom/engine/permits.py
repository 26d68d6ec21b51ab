"""Permissions to probe hosts that are down: tokens of a rate, one for each interval and host.

The lender sees to it that of all queues one probes at a time.
Satisfies delivery.health.Permits.
Called by: delivery.health.  Raises: nothing.
"""

from __future__ import annotations

import asyncio

from postroom.core.clock import Clock
from postroom.core.limits import PROBE, Limit, LimitKey, Rate
from postroom.engine.lessee import Lessee
from postroom.shaping.gate import Gate

_RATED = Limit(None, Rate(1, 1.0))
"""That there is a rate; which one, the lender knows."""


class ProbePermits:
    """Asks a lender."""

    def __init__(self, lessee: Lessee, clock: Clock) -> None:
        self._lessee = lessee
        self._clock = clock
        self._waiting: dict[LimitKey, asyncio.Future[bool]] = {}
        self._refused: set[LimitKey] = set()

    async def ask(self, route: str, host: str, wait_s: float) -> bool | None:
        """Say whether we may probe a host, once; None where nobody answers in `wait_s`."""
        key = LimitKey(PROBE, route, host)
        if key in self._waiting:
            return False
        gate = self._lessee.gate(key, _RATED)
        waiter = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            if not gate.has_token(self._clock.now()):
                self._lessee.want(gate, 0, 1, self._clock.now())
                async with asyncio.timeout(wait_s):
                    if not await waiter:
                        self._lessee.want_nothing(gate)
                        return False
            gate.tokens -= 1
            return True
        except TimeoutError:
            self._lessee.want_nothing(gate)
            # Who was told "not yet" waits, for a token may become free; but there is somebody.
            return False if key in self._refused else None
        finally:
            self._refused.discard(key)
            del self._waiting[key]
            self._lessee.forget(gate)

    def refused(self, gate: Gate) -> None:
        """Note that no token is to be had yet."""
        if gate.key in self._waiting:
            self._refused.add(gate.key)

    def opened(self, gate: Gate) -> None:
        """Note that a token has come."""
        waiter = self._waiting.get(gate.key)
        if waiter is not None and not waiter.done():
            waiter.set_result(True)

    def settled(self, host: str) -> None:
        """Note that it was found out how a host is: nobody need wait for that any more."""
        for key, waiter in self._waiting.items():
            if key.site == host and not waiter.done():
                waiter.set_result(False)
