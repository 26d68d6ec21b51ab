"""aiosmtpd, in a thread of this process: its server keeps mail, its Proxy handler sends it on.

Its server does not offer PIPELINING, but reads line by line, so that it may be told to; the
Proxy sends by smtplib, which is extended here by STARTTLS and the parameters of MAIL.
"""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiosmtpd
from aiosmtpd.handlers import Proxy
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.interop.combination import EXTENSIONS, Can, Combination
from tests.interop.letters import HOME
from tests.interop.peer import PEER_HOST, Fate, Places
from tests.support.certificate import make_certificate

_ABILITIES = {**dict.fromkeys(EXTENSIONS, Can.SWITCHED), "CHUNKING": Can.NEVER}
_CALLS = {"MAIL": 10_000, "*": 10_000}
"""It would end a session after 20 calls of one command."""


class _Keeper:
    """Handler: keeps what comes, and notes what was used of what is offered."""

    def __init__(self, combination: Combination) -> None:
        self._combination = combination
        self.kept: list[tuple[list[str], bool, bytes]] = []

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        session.host_name = hostname
        if "8BITMIME" not in self._combination:
            lines = [line for line in lines if not line.endswith("8BITMIME")]
        if "PIPELINING" in self._combination:
            lines.insert(1, "250-PIPELINING")
        return lines

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content
        assert content is not None
        options = [str(option).upper() for option in envelope.mail_options]
        self.kept.append((options, session.ssl is not None, content))
        return "250 2.0.0 kept"


class _Forwarder(Proxy):  # type: ignore[misc]
    """aiosmtpd's Proxy, with the extensions that the recipient's domain stands for."""

    def __init__(self, combinations: Sequence[Combination], places: Places) -> None:
        super().__init__("127.0.0.1", places.next_hop)
        self._by_domain = {one.domain: one for one in combinations}
        self._home = places.home
        self._options: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self._options = [str(option).upper() for option in envelope.mail_options]
        combination = self._combination(envelope.rcpt_tos)
        if "SMTPUTF8" in self._options and "SMTPUTF8" not in combination:
            # RFC 6531 §3.5: there is nobody to whom the Proxy could return it later.
            return "553 5.6.7 it needs SMTPUTF8"
        reply: str = await super().handle_DATA(server, session, envelope)
        return reply

    def _deliver(self, mail_from: str, rcpt_tos: list[str], data: bytes) -> dict[str, Any]:
        combination = self._combination(rcpt_tos)
        port = self._home if rcpt_tos[0].endswith(HOME) else self._port
        with smtplib.SMTP(self._hostname, port, local_hostname=PEER_HOST, timeout=30) as client:
            client.ehlo()
            if "STARTTLS" in combination:
                client.starttls(context=_trusting())
                client.ehlo()
            wanted = {"BODY=8BITMIME": "8BITMIME", "SMTPUTF8": "SMTPUTF8"}
            options = [option for option in self._options if wanted.get(option) in combination]
            return client.sendmail(mail_from, rcpt_tos, data, mail_options=options)

    def _combination(self, recipients: Sequence[str]) -> Combination:
        return self._by_domain.get(recipients[0].rpartition("@")[2], Combination())


class _Thread:
    """An event loop of its own, which runs servers while it is entered."""

    def __init__(self, serve: Callable[[], contextlib.AbstractAsyncContextManager[None]]) -> None:
        self._serve = serve
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._until_stopped())
        self._loop.close()

    async def _until_stopped(self) -> None:
        async with self._serve():
            self._started.set()
            await self._stop.wait()

    def __enter__(self) -> None:
        self._thread.start()
        assert self._started.wait(10)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


class _Receiver:
    def __init__(self, keepers: Mapping[Combination, _Keeper]) -> None:
        self.ports: dict[Combination, int] = {}
        self._keepers = keepers

    def arrived(self) -> list[bytes]:
        return [content for one in self._keepers.values() for _, _, content in list(one.kept)]

    def misused(self, combinations: Sequence[Combination]) -> list[str]:
        """Hold what was asked for with MAIL against what was offered."""
        wrong = []
        for one in combinations:
            kept = self._keepers[one].kept
            if {tls for _, tls, _ in kept} != {"STARTTLS" in one}:
                wrong.append(f"{one}: STARTTLS not as offered")
            if "8BITMIME" in one and any(
                not content.isascii() and "BODY=8BITMIME" not in options
                for options, _, content in kept
            ):
                wrong.append(f"{one}: 8-bit content came without BODY=8BITMIME")
            said = {option for options, _, _ in kept for option in options}
            for parameter, name in (("BODY=8BITMIME", "8BITMIME"), ("SMTPUTF8", "SMTPUTF8")):
                if parameter in said and name not in one:
                    wrong.append(f"{one}: {parameter} was said")
        return wrong


class _Relay:
    def __init__(self) -> None:
        self.port = 0


class AiosmtpdPeer:
    """aiosmtpd with a server for each combination, or one with the Proxy handler."""

    name = "aiosmtpd"
    version = aiosmtpd.__version__
    receives = _ABILITIES
    sends = {**_ABILITIES, "PIPELINING": Can.NEVER}
    needs: Mapping[str, str] = {}
    why = {
        "receives CHUNKING": "it knows no BDAT",
        "sends CHUNKING": "its Proxy sends by smtplib, which knows no BDAT",
        "sends PIPELINING": "its Proxy sends by smtplib, which waits for each reply",
    }

    @contextlib.contextmanager
    def receiving(self, combinations: Sequence[Combination]) -> Iterator[_Receiver]:
        """A server for each, in one loop."""
        keepers = {one: _Keeper(one) for one in combinations}
        receiver = _Receiver(keepers)

        @contextlib.asynccontextmanager
        async def serve() -> AsyncIterator[None]:
            async with contextlib.AsyncExitStack() as stack:
                for one, keeper in keepers.items():
                    server = await _listen(
                        keeper,
                        utf8="SMTPUTF8" in one,
                        context=context if "STARTTLS" in one else None,
                    )
                    await stack.enter_async_context(server)
                    receiver.ports[one] = server.sockets[0].getsockname()[1]
                yield

        with TemporaryDirectory() as directory:
            context = _context(Path(directory))
            with _Thread(serve):
                yield receiver

    @contextlib.contextmanager
    def relaying(self, combinations: Sequence[Combination], places: Places) -> Iterator[_Relay]:
        """One server, which sends on what it takes before it answers."""
        relay = _Relay()

        @contextlib.asynccontextmanager
        async def serve() -> AsyncIterator[None]:
            server = await _listen(_Forwarder(combinations, places), utf8=True, context=None)
            async with server:
                relay.port = server.sockets[0].getsockname()[1]
                yield

        with _Thread(serve):
            yield relay

    def fate_of(self, kind: str, combination: Combination) -> tuple[Fate, str]:
        """Return it: it sends everything as it came, and refuses what it cannot send."""
        if kind.startswith("utf8") and "SMTPUTF8" not in combination:
            return Fate.REFUSED, "5.6.7"
        return Fate.DELIVERED, ""


def _listen(
    handler: object, *, utf8: bool, context: ssl.SSLContext | None
) -> Awaitable[asyncio.Server]:
    loop = asyncio.get_running_loop()
    return loop.create_server(
        lambda: SMTP(
            handler, hostname=PEER_HOST, enable_SMTPUTF8=utf8, tls_context=context, loop=loop,
            command_call_limit=_CALLS,
        ),
        "127.0.0.1", 0,
    )  # fmt: skip


def _context(directory: Path) -> ssl.SSLContext:
    certificate, key = make_certificate(PEER_HOST).save(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
