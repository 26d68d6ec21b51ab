"""The console: one HTTP server on the sockets that the master bound.

Owns the runner and what handlers work with. Called by: console.main.
Raises: ConfigurationError, TokenError, OSError from `open_console`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from aiohttp import web

from postroom.api.context import Context
from postroom.api.exposition import EXPOSITION
from postroom.api.route import Route
from postroom.api.routes import ROUTES
from postroom.config.console import ConsolePolicy
from postroom.config.model import Config
from postroom.console.dispatch import Dispatch
from postroom.console.static import StaticFiles
from postroom.core.clock import Clock
from postroom.core.errors import ConfigurationError
from postroom.observe.log import EventLog
from postroom.supervisor.companion import STOP_DEADLINE_S
from postroom.supervisor.file_limit import raise_limit
from postroom.supervisor.link import CompanionBegin

KEEP_ALIVE_S = 75.0
LINE_OCTETS_MAX = 32 * 1024
"""A request line: filters and lists of recipients stand in it."""

SERVED: tuple[Route, ...] = (*ROUTES, *EXPOSITION)
"""What is served as typed routes: the API, and what other parts add with `is_rooted` routes of
their own (metrics), by `*ROUTES, *THEIRS`. Pages and their files are in console/static."""


async def open_console(begin: CompanionBegin, clock: Clock, log: EventLog) -> Console:
    """Return a console that serves; satisfies supervisor.companion.OpenCompanion."""
    raise_limit()
    console = Console(begin, clock, log)
    await console.start()
    return console


class Console:
    """The HTTP server of one Postroom; satisfies supervisor.companion.Companion."""

    def __init__(self, begin: CompanionBegin, clock: Clock, log: EventLog) -> None:
        policy = begin.config.console
        self._context = Context(begin.config, clock, log)
        self._dispatch = Dispatch(self._context, policy)
        self._sockets = [socket.socket(fileno=bound.descriptor) for bound in begin.sockets]
        self._tls = _tls(policy)
        application = self._dispatch.application(SERVED)
        StaticFiles().add_to(application)
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False,
            max_line_size=LINE_OCTETS_MAX, keepalive_timeout=KEEP_ALIVE_S,
            shutdown_timeout=STOP_DEADLINE_S - 0.5, auto_decompress=False,
        )  # fmt: skip
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """Take requests from now on."""
        await self._runner.setup()
        for one in self._sockets:
            one.setblocking(False)
            await web.SockSite(self._runner, one, ssl_context=self._tls).start()

    async def run(self) -> None:
        """Serve until `stop`."""
        tending = asyncio.create_task(self._context.injector.tend())
        try:
            await self._ended.wait()
        finally:
            tending.cancel()

    def apply(self, config: Config) -> None:
        """Use a configuration from now on."""
        self._context.apply(config)

    async def stop(self, deadline_s: float) -> None:
        """Take nothing more, answer what has begun within the deadline."""
        self._dispatch.stopping.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._runner.cleanup()
        await self._context.close()
        self._ended.set()


def _tls(policy: ConsolePolicy) -> ssl.SSLContext | None:
    if not policy.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(policy.tls_certificate, policy.tls_key, password=lambda: "")
    except (OSError, ValueError) as error:
        text = f"console.tls_certificate: {policy.tls_certificate}: {error}; expected PEM files, "
        raise ConfigurationError(text + "the key unencrypted, and readable by this user") from error
    return context
