"""The sites of `make limits-run`, in a process of their own: they count what limits are of.

    python -m tests.support.limits_sink RECORD SITE:DOMAIN ...

Each site is a host on an address of its own, which a name server in the same process names for
its domain. A line of JSON with both ports is printed first, then one with the messages taken,
every now and then. On TERM the record is written: every connection with its site, the domain of
the first reverse-path that it brought, when it was opened and closed, and its transactions.

A client of nothing of ours: what is counted here does not rest on the code that is tested.
Called by: tests.support.limits_run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from pathlib import Path

import msgspec

from tests.support.dns_server import DnsServer
from tests.support.scopes import Call

DELAY_S = 0.04
"""How long a message keeps its connection, after its content."""
TELL_S = 0.25
PORT_TRIES = 50


class Book:
    """All connections."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.taken: dict[str, int] = {}
        """Messages by the domain of the reverse-path."""


class Session(asyncio.Protocol):
    """One connection: as little SMTP as delivery needs, pipelined or not."""

    def __init__(self, book: Book, site: str) -> None:
        self._book, self._call = book, Call(site, 0.0)
        self._buffer = b""
        self._in_content = False
        self._mail_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._call.opened = time.monotonic()
        self._call.client = transport.get_extra_info("peername")[0]
        self._book.calls.append(self._call)
        transport.write(b"220 sink.example ready\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._call.closed = time.monotonic()
        if self._timer is not None:
            self._timer.cancel()
        self._end_transaction()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            mark = b"\r\n.\r\n" if self._in_content else b"\r\n"
            head, found, rest = self._buffer.partition(mark)
            if not found:
                return
            self._buffer = rest
            if self._in_content:
                self._in_content = False
                self._timer = asyncio.get_running_loop().call_later(DELAY_S, self._take)
            else:
                self._command(head)

    def _command(self, line: bytes) -> None:
        word = line[:4].upper()
        if word == b"EHLO":
            self._transport.write(b"250-sink.example\r\n250 PIPELINING\r\n")
        elif word == b"MAIL":
            self._mail_at = time.monotonic()
            self._call.sender = line.partition(b"@")[2].partition(b">")[0].decode()
            self._transport.write(b"250 2.1.0 Ok\r\n")
        elif word == b"DATA":
            self._in_content = True
            self._transport.write(b"354 Go on\r\n")
        elif word == b"QUIT":
            self._transport.write(b"221 2.0.0 Bye\r\n")
            self._transport.close()
        else:
            if word == b"RSET":
                self._end_transaction()
            self._transport.write(b"250 2.0.0 Ok\r\n")

    def _take(self) -> None:
        self._timer = None
        self._call.messages += 1
        taken = self._book.taken
        taken[self._call.sender] = taken.get(self._call.sender, 0) + 1
        self._end_transaction()
        self._transport.write(b"250 2.0.0 Ok: taken\r\n")

    def _end_transaction(self) -> None:
        if self._mail_at:
            self._call.transactions.append((self._mail_at, time.monotonic()))
            self._mail_at = 0.0


async def _listen(book: Book, sites: list[str]) -> tuple[list[asyncio.Server], int]:
    """Listen for every site on an address of its own; return the port, which all share."""
    loop = asyncio.get_running_loop()
    for _ in range(PORT_TRIES):
        servers: list[asyncio.Server] = []
        port = 0
        try:
            for number, site in enumerate(sites):

                def session(site: str = site) -> Session:
                    return Session(book, site)

                server = await loop.create_server(session, address(number), port, backlog=1024)
                servers.append(server)
                port = server.sockets[0].getsockname()[1]
        except OSError:
            for server in servers:
                server.close()
            continue
        return servers, port
    raise OSError("no port is free on all addresses")


def address(number: int) -> str:
    """Return the address of a site."""
    return f"127.0.1.{number + 1}"


async def main(record: Path, pairs: list[str]) -> None:
    """Play until TERM, then write the record."""
    book = Book()
    sites = [pair.partition(":")[0] for pair in pairs]
    zones: dict[str, dict[str, list[str]]] = {}
    for number, pair in enumerate(pairs):
        site, _, domain = pair.partition(":")
        zones[domain] = {"MX": [f"10 mx.{site}.example"]}
        zones[f"mx.{site}.example"] = {"A": [address(number)]}
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    servers, port = await _listen(book, sites)
    async with DnsServer(zones) as names:
        print(json.dumps({"port": port, "names": names.address}), flush=True)
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_S):
                    await stopping.wait()
            print(json.dumps(book.taken), flush=True)
    for server in servers:
        server.close()
    now = time.monotonic()
    for call in book.calls:
        call.closed = call.closed or now
    record.write_bytes(msgspec.json.encode(book.calls))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
