"""A receiver of webhooks for tests: a real HTTP server that checks signatures and can refuse."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections import defaultdict
from types import TracebackType
from typing import Any

from aiohttp import web


class Receiver:
    """Listens while it is entered. `bodies` is what it took, `refused` what it did not."""

    def __init__(self, secret: str) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self.status = 200
        self.headers: dict[str, str] = {}
        self.bodies: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.refused = 0
        self.forged = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it is posted to."""
        return f"http://127.0.0.1:{self.port}/events?token=hidden"

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events it took, in order."""
        return [
            event
            for body in list(self.bodies)
            if body["type"] == "events"
            for event in body["data"]["events"]
        ]

    def by_message(self) -> dict[str, list[str]]:
        """The names of the events of each message, each event once."""
        seen: set[str] = set()
        found: dict[str, list[str]] = defaultdict(list)
        for event in self.events:
            if event["event_id"] not in seen and "id" in event:
                found[event["id"]].append(event["event"])
            seen.add(event["event_id"])
        return found

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        head = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}."
        digest = hmac.new(self._key, head.encode() + body, hashlib.sha256).digest()
        expected = f"v1,{base64.b64encode(digest).decode()}"
        if expected not in request.headers["webhook-signature"].split():
            self.forged += 1
            return web.Response(status=401)
        if self.status != 200:
            self.refused += 1
            return web.Response(status=self.status, headers=self.headers)
        self.bodies.append(json.loads(body))
        self.ids.append(request.headers["webhook-id"])
        return web.Response(status=204)

    def __enter__(self) -> Receiver:
        self._thread.start()
        assert self._started.wait(20)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_post("/events", self._take)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()
