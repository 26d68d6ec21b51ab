"""The load of a soak: messages at an even pace, each with a number that says where it arrives.

Owns the sessions and what was acknowledged. A number is used once; its recipient is rNUMBER and
its reverse-path bNUMBER, so that a report names it too. Where the server keeps sessions waiting,
the pace is not made up for: what was not sent is counted.

Called by: tests.support.soak_run.  Raises: nothing for what the server does.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from tests.support.load import Refused, read_reply
from tests.support.soak_sites import WEIGHTS

SESSION_MESSAGES = 200
REPLY_DEADLINE_S = 60.0
LATE_MAX_S = 1.0
AGAIN_S = 0.05
_BODY = (b"x" * 76 + b"\r\n") * 110


class PacedLoad:
    """Sessions that send so many messages a second together."""

    def __init__(self, entropy: random.Random, port: Callable[[], int]) -> None:
        self._entropy, self._port = entropy, port
        self.rate = 0.0
        """Messages per second; 0: as fast as is answered, for as long as `may_send`."""
        self.may_send: Callable[[], bool] = lambda: True
        self.weights = dict(WEIGHTS)
        self.acknowledged = bytearray()
        """By number."""
        self.count = 0
        self.not_sent = 0
        self.unexpected: Counter[str] = Counter()
        self._number = 0
        self._next_at = 0.0
        self._stopping = False

    async def run(self, sessions: int) -> None:
        """Send until `stop`."""
        self._stopping, self._next_at = False, 0.0
        async with asyncio.TaskGroup() as group:
            for _ in range(sessions):
                group.create_task(self._session())

    def stop(self) -> None:
        """Let every session end after its message."""
        self._stopping = True

    async def _session(self) -> None:
        while not self._stopping:
            writer: asyncio.StreamWriter | None = None
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port())
                async with asyncio.timeout(REPLY_DEADLINE_S):
                    await _replies(reader, 1)
                    writer.write(b"EHLO soak.example\r\n")
                    await _replies(reader, 1)
                for _ in range(SESSION_MESSAGES):
                    await self._wait_for_turn()
                    if self._stopping:
                        break
                    async with asyncio.timeout(REPLY_DEADLINE_S):
                        await self._send(reader, writer)
            except (OSError, EOFError, TimeoutError, Refused) as error:
                self.unexpected[str(error) if isinstance(error, Refused) else ""] += 1
                await asyncio.sleep(AGAIN_S)
            finally:
                if writer is not None:
                    writer.close()

    async def _wait_for_turn(self) -> None:
        if not self.rate:
            while not self.may_send() and not self._stopping:
                await asyncio.sleep(0.01)
            return
        now = asyncio.get_running_loop().time()
        behind_s = now - self._next_at
        if behind_s > LATE_MAX_S:
            self.not_sent += int(behind_s * self.rate) if self._next_at else 0
            self._next_at = now
        turn, self._next_at = self._next_at, self._next_at + 1 / self.rate
        if turn > now:
            await asyncio.sleep(turn - now)

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dice = self._entropy
        [site] = dice.choices(tuple(self.weights), tuple(self.weights.values()))
        number = self._number = self._number + 1
        content = b"From: <b%d@back.example>\r\nSubject: soak\r\n\r\n%s.\r\n" % (
            number, _BODY[: 78 * dice.randint(10, 110)],
        )  # fmt: skip
        writer.write(
            b"MAIL FROM:<b%d@well.example>\r\nRCPT TO:<r%d@%s.example>\r\nDATA\r\n"
            % (number, number, site.encode())
        )
        await _replies(reader, 3)
        writer.write(content)
        await _replies(reader, 1)
        if number >= len(self.acknowledged):
            self.acknowledged.extend(bytes(number + 65536 - len(self.acknowledged)))
        self.acknowledged[number] = 1
        self.count += 1


async def _replies(reader: asyncio.StreamReader, count: int) -> None:
    """Read so many replies, none of which may be a refusal."""
    for _ in range(count):
        await read_reply(reader)
