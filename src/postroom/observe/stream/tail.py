"""Waiting for more of the stream: by polling, for whoever follows it live.

A poll that finds nothing costs the look at one directory for each writer. The files are read in
a thread, so that an event loop is never kept.

Called by: webhooks, api.  Raises: CursorError, OSError.
"""

from __future__ import annotations

import asyncio

from postroom.observe.stream.reader import Page, StreamReader
from postroom.observe.stream.wanted import Wanted

POLL_S = 0.2


async def next_page(
    reader: StreamReader, cursor: str, wanted: Wanted, limit: int, deadline_s: float
) -> Page:
    """Return the next page that has events; one without them where `deadline_s` has passed."""
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    while True:
        page = await asyncio.to_thread(reader.read, cursor, wanted, limit)
        left_s = until - loop.time()
        if page.events or left_s <= 0:
            return page
        cursor = page.cursor
        if not page.is_more:
            await asyncio.sleep(min(POLL_S, left_s))
