"""A load for crash tests: sessions that send small messages, each known to a ledger.

A client of its own, so that what it calls acknowledged does not rest on our code: a message
is acknowledged once the whole 250 after its content has been read, and nothing else counts.
Sessions that are cut off connect again; half of them send envelopes in one piece (RFC 2920).

Called by: tools.crash, tests.  Raises: nothing for what the server does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

from tests.support.ledger import BACK, MARK, REFUSED, Ledger

PAUSE_MAX_S = 0.04
"""Sessions wait up to this long between messages: a light load leaves idle moments too."""
RECONNECT_S = 0.02
REPLY_DEADLINE_S = 20.0
BIG_OCTETS = 150_000
DOMAINS = {"now.example": 3, "grey.example": 1}
"""Where mail goes, and how much of it."""


class Load:
    """Sessions that send until they are stopped."""

    def __init__(
        self, ledger: Ledger, entropy: random.Random, name: str,
        senders: tuple[str, ...] = (BACK,), domains: Mapping[str, int] = DOMAINS,
    ) -> None:  # fmt: skip
        """`senders` are the domains of reverse-paths, and where DSNs go."""
        self._senders, self._domains = senders, domains
        self._ledger = ledger
        self._entropy = entropy
        self._name = name
        self._count = 0
        self._stopping = asyncio.Event()
        self.unexpected: dict[str, int] = {}
        """Replies that were not a success, and how often; "" is a connection that ended."""

    async def run(self, sessions: int, port: Callable[[], int]) -> None:
        """Send until `stop`; `port` says where the server listens now."""
        async with asyncio.TaskGroup() as group:
            for number in range(sessions):
                group.create_task(self._session(port, pipelined=number % 2 == 0))

    def stop(self) -> None:
        """Let every session end after its message."""
        self._stopping.set()

    async def _session(self, port: Callable[[], int], *, pipelined: bool) -> None:
        while not self._stopping.is_set():
            writer: asyncio.StreamWriter | None = None
            try:
                async with asyncio.timeout(REPLY_DEADLINE_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port())
                    await read_reply(reader)
                    await self._say(reader, writer, b"EHLO load.example\r\n")
                while not self._stopping.is_set():
                    async with asyncio.timeout(REPLY_DEADLINE_S):
                        await self._send(reader, writer, pipelined)
                    await asyncio.sleep(self._entropy.uniform(0, PAUSE_MAX_S))
            except (OSError, EOFError, TimeoutError, Refused) as error:
                about = str(error) if isinstance(error, Refused) else ""
                self.unexpected[about] = self.unexpected.get(about, 0) + 1
                await asyncio.sleep(RECONNECT_S)
            finally:
                if writer is not None:
                    writer.close()

    async def _send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pipelined: bool
    ) -> None:
        name, recipients, content = self._message()
        back = self._entropy.choice(self._senders)
        sent = self._ledger.send(name, content, recipients, back)
        commands = [f"MAIL FROM:<{name}@{back}>\r\n".encode()]
        commands += [b"RCPT TO:<%s>\r\n" % address.encode() for address in recipients]
        commands.append(b"DATA\r\n")
        if pipelined:
            writer.write(b"".join(commands))
            for _ in commands:
                await read_reply(reader)
        else:
            for command in commands:
                await self._say(reader, writer, command)
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        await self._say(reader, writer, stuffed + b".\r\n")
        sent.acknowledged = True

    async def _say(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, octets: bytes
    ) -> None:
        writer.write(octets)
        await writer.drain()
        await read_reply(reader)

    def _message(self) -> tuple[str, tuple[str, ...], bytes]:
        """Return a name, recipients and content that no other message has."""
        dice = self._entropy
        self._count += 1
        name = f"{self._name}-{self._count}"
        kind = dice.random()
        count = 1 if kind < 0.7 else dice.randint(2, 5) if kind < 0.95 else 20
        domains = dice.choices(tuple(self._domains), tuple(self._domains.values()), k=count)
        recipients = [f"{name}-{number}@{domain}" for number, domain in enumerate(domains)]
        if dice.random() < 0.03:
            recipients[-1] = f"{name}-{count - 1}@{REFUSED}"
        size = BIG_OCTETS if dice.random() < 0.01 else dice.randint(100, 6000)
        body = dice.randbytes(size // 2).hex().encode()
        # Lines of every kind that a transport might damage: dots in front, an empty one.
        lines = [body[start : start + 76] for start in range(0, len(body), 76)]
        lines[dice.randrange(len(lines)) :] = [b".", b"..x", b"", *lines[-1:]]
        header = MARK + name.encode() + b"\r\nSubject: crash\r\n\r\n"
        return name, tuple(recipients), header + b"\r\n".join(lines) + b"\r\n"


class Refused(Exception):
    """The server answered 4xx or 5xx."""


async def read_reply(reader: asyncio.StreamReader) -> None:
    """Read one reply, which may not be a refusal."""
    while True:
        line = await reader.readuntil(b"\r\n")
        if line[3:4] != b"-":
            break
    if line[:1] not in b"23":
        raise Refused(line.decode("latin-1").strip())
