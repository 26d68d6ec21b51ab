"""The route that tells metrics, for Prometheus and what reads its format.

Called by: console.server.  Raises: ControlError where the server does not answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from postroom.api.context import Context
from postroom.api.route import LOOK, Call, Octets, Route
from postroom.control.metrics import MEDIA_TYPE


async def metrics(context: Context, call: Call) -> Octets:
    """Give all metrics as text."""
    tick = await context.ticks.current()
    text = context.meter.text(tick.overview).encode()

    async def pieces() -> AsyncIterator[bytes]:
        yield text

    return Octets(MEDIA_TYPE, pieces())


EXPOSITION: tuple[Route, ...] = (
    Route("GET", "/metrics", metrics, "metrics of the server, as Prometheus reads them", LOOK,
          answers=MEDIA_TYPE, problems=(503,), tag="look", is_rooted=True),
)  # fmt: skip
