"""A load over HTTP for crash tests: requests with an Idempotency-Key, repeated until answered.

A client of its own, as tests.support.load is. A request that was cut off, or answered 409, 429 or
5xx, is made again with its key, also rounds later; 202 is the acknowledgement. What was never
answered with it counts as not acknowledged.

Called by: tests.support.crash_run, .soak_run.  Raises: nothing for what the server does.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque

from tests.support.ledger import MARK, Ledger, Sent

PAUSE_MAX_S = 0.1
ANSWER_DEADLINE_S = 20.0
AGAIN_S = 0.05
NAME = "h"
"""Messages that came by HTTP have names that begin so: they must be accepted once."""


class HttpLoad:
    """Clients of the API that have a memory of what was not answered."""

    def __init__(self, ledger: Ledger, entropy: random.Random, port: int, token: str) -> None:
        self._ledger, self._entropy = ledger, entropy
        self._port, self._token = port, token
        self._open: deque[tuple[Sent, bytes]] = deque()
        """What waits to be asked again, with its content."""
        self._count = 0
        self._stopping = asyncio.Event()
        self.repeated = 0
        self.answers: dict[int, int] = {}

    async def run(self, sessions: int, senders: tuple[str, ...], domains: tuple[str, ...]) -> None:
        """Send until `stop`."""
        self._stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(sessions):
                group.create_task(self._session(senders, domains))

    def stop(self) -> None:
        """Let every session end after its request."""
        self._stopping.set()

    @property
    def unanswered(self) -> int:
        """Requests that have no answer yet."""
        return len(self._open)

    async def finish(self, seconds: float) -> None:
        """Ask again whatever has no answer, until all have one or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while self._open:
                    await self._ask(*self._open.popleft())
        except TimeoutError:
            pass

    async def _session(self, senders: tuple[str, ...], domains: tuple[str, ...]) -> None:
        while not self._stopping.is_set():
            if self._open:
                sent, content = self._open.popleft()
                self.repeated += 1
            else:
                sent, content = self._message(senders, domains)
            await self._ask(sent, content)
            await asyncio.sleep(self._entropy.uniform(0, PAUSE_MAX_S))

    async def _ask(self, sent: Sent, content: bytes) -> None:
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                status = await self._request(sent, content)
        except (OSError, EOFError, ValueError, TimeoutError):
            status = 0
        self.answers[status] = self.answers.get(status, 0) + 1
        if status == 202:
            sent.acknowledged = True
        else:
            # Refused for good would be a mistake of this load: it is seen in `answers`.
            self._open.append((sent, content))
            await asyncio.sleep(AGAIN_S)

    async def _request(self, sent: Sent, content: bytes) -> int:
        query = "&".join(f"recipient={address}" for address in sent.recipients)
        head = (
            f"POST /api/v1/messages?sender={sent.name}@{sent.back}&{query} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self._port}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: message/rfc822\r\nContent-Length: {len(content)}\r\n"
            f"Idempotency-Key: {sent.name}\r\nConnection: close\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(head.encode() + content)
            await writer.drain()
            line = await reader.readuntil(b"\r\n")
            # The whole answer, as a client that reads it would.
            await reader.read()
            return int(line.split()[1])
        finally:
            writer.close()

    def _message(self, senders: tuple[str, ...], domains: tuple[str, ...]) -> tuple[Sent, bytes]:
        dice = self._entropy
        self._count += 1
        name = f"{NAME}{self._count}"
        recipients = tuple(
            f"{name}-{number}@{dice.choice(domains)}" for number in range(dice.choice((1, 1, 2)))
        )
        sender = dice.choice(senders)
        body = dice.randbytes(dice.randint(50, 1500)).hex().encode()
        lines = [body[start : start + 76] for start in range(0, len(body), 76)]
        header = b"%s%s\r\nFrom: <%s@%s>\r\nSubject: crash\r\n\r\n" % (
            MARK, name.encode(), name.encode(), sender.encode(),
        )  # fmt: skip
        content = header + b"\r\n".join(lines) + b"\r\n"
        return self._ledger.send(name, content, recipients, sender), content
