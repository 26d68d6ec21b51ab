"""A receiver of webhooks for tests: a real HTTP server that checks signatures and can refuse."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web


class HttpThread:
    """An HTTP server in a thread, while it is entered; entered again it has the same port."""

    path = "/"

    def __init__(self) -> None:
        self.port = 0
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None

    async def take(self, request: web.Request) -> web.Response:
        """Answer one request; this class has none."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(20)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        assert self._thread is not None
        self._thread.join(20)

    def _run(self, started: threading.Event) -> None:
        asyncio.run(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        application = web.Application()
        application.router.add_post(self.path, self.take)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        started.set()
        await stop.wait()
        await runner.cleanup()


class Receiver(HttpThread):
    """Listens while it is entered. `bodies` is what it took, `refused` what it did not."""

    path = "/events"

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self.status = 200
        self.headers: dict[str, str] = {}
        self.bodies: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.refused = 0
        self.forged = 0

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

    async def take(self, request: web.Request) -> web.Response:
        """Take one request, if it is signed."""
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
