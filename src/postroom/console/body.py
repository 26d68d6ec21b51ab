"""The body of a request, read within a bound and a deadline.

Called by: console.dispatch.  Raises: Problem (408, 413).
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from postroom.api.problem import Problem


async def read(request: web.Request, limit: int, deadline_s: float) -> bytes:
    """Return the octets of a body."""
    octets = bytearray()
    try:
        async with asyncio.timeout(deadline_s):
            async for piece in request.content.iter_any():
                octets += piece
                if len(octets) > limit:
                    raise too_large(limit)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {deadline_s:.0f} s") from None
    return bytes(octets)


def too_large(limit: int) -> Problem:
    """Return how a body is refused that has more octets."""
    return Problem(
        413, f"the body has more than {limit} octets", field="body",
        expected=f"at most {limit} octets", remedy="raise console.size_limit",
    )  # fmt: skip
