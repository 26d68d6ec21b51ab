"""A message is seen only when it is whole, whoever injects and whoever breaks off.

Longer: POSTROOM_SCAN_SECONDS=60 python -m pytest tests/scenarios/test_whole_or_absent.py.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
from pathlib import Path

import pytest

from postroom import Client
from postroom.control.client import ControlClient
from postroom.control.commands import MailListArgs, MailShowArgs
from postroom.control.paths import RunPaths
from postroom.control.protocol import ControlError
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Recipient, StoredMessage
from postroom.spool import fsck
from tests.support.command_line import postroom
from tests.support.crash_run import CONFIGURATION, SINK_RULES, seconds
from tests.support.daemon import Daemon
from tests.support.ledger import BACK, MARK, Ledger
from tests.support.load import Load
from tests.support.sink_process import SinkProcess

SECONDS = float(os.environ.get("POSTROOM_SCAN_SECONDS", "3"))
QUEUES = 2
SMTP_SESSIONS, LOCAL_INJECTORS, BREAKING_OFF = 4, 2, 2
# A session of the load goes on for as long as the test; and segments are small, so that they
# are closed, compacted and removed while they are looked at.
SETTINGS = (
    CONFIGURATION
    + """
[listen.smtp]
address = ["127.0.0.1:0"]
messages_max = 1000000
"""
)
SPOOL = 'segment_size = "64 KiB"'
LOOKED_INTO = 10
"""Messages of one listing whose content is asked for."""


@pytest.mark.seed(9)
def test_every_message_that_is_seen_while_mail_is_injected_is_whole(tmp_path: Path) -> None:
    """Eight injectors and a scanner, no orphan."""
    sink = SinkProcess(tmp_path, *SINK_RULES)
    ledger = Ledger()
    scanner = Scanner(ledger)
    try:
        with Daemon(relay=sink.port, queues=QUEUES, config=SETTINGS, spool=SPOOL) as daemon:
            asyncio.run(inject_and_scan(daemon, ledger, scanner))
            assert scanner.wrong == []
            assert scanner.looks > 2 and scanner.contents > 20 and scanner.broken_off > 10
            daemon.wait_until(lambda: daemon.recipients_left() == 0, 60, "the queues are empty")
            assert daemon.stop() == 0
            assert postroom(daemon, "fsck") == (0, f"{QUEUES} queues checked: nothing is wrong\n")
            ledger.announce(daemon.log(), seconds)
            found = ledger.check(sink.received())
            assert found.violations == []
            assert found.acknowledged == found.messages > 50
    finally:
        sink.stop()


async def inject_and_scan(daemon: Daemon, ledger: Ledger, scanner: Scanner) -> None:
    port = daemon.port
    load = Load(ledger, random.Random(9), "smtp")
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(SMTP_SESSIONS, lambda: port))
        stopping = asyncio.Event()
        for number in range(LOCAL_INJECTORS):
            group.create_task(inject_locally(daemon, ledger, f"local{number}", stopping))
        for number in range(BREAKING_OFF):
            group.create_task(break_off(port, scanner, number, stopping))
        until = asyncio.get_running_loop().time() + SECONDS
        while asyncio.get_running_loop().time() < until and not scanner.wrong:
            await asyncio.to_thread(scanner.look, daemon)
        load.stop()
        stopping.set()


async def inject_locally(
    daemon: Daemon, ledger: Ledger, name: str, stopping: asyncio.Event
) -> None:
    """Hand over messages through the Python client."""
    dice = random.Random(name)
    number = 0
    with Client(daemon.base / "spool") as client:
        while not stopping.is_set():
            number += 1
            one = f"{name}-{number}"
            text = dice.randbytes(dice.randint(50, 5000)).hex()
            content = MARK + f"{one}\r\nSubject: local\r\n\r\n{text}\r\n".encode()
            recipients = tuple(f"{one}-{n}@now.example" for n in range(dice.randint(1, 5)))
            sent = ledger.send(one, content, recipients)
            envelope = Envelope(f"{one}@{BACK}", tuple(map(Recipient, recipients)))
            await client.asubmit(envelope, content)
            sent.acknowledged = True
            await asyncio.sleep(dice.uniform(0, 0.02))


async def break_off(port: int, scanner: Scanner, number: int, stopping: asyncio.Event) -> None:
    """Begin messages and break off in the middle of the content."""
    dice = random.Random(number)
    while not stopping.is_set():
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        name = f"broken-{number}-{scanner.broken_off}"
        writer.write(
            f"EHLO x\r\nMAIL FROM:<{name}@{BACK}>\r\nRCPT TO:<{name}@now.example>\r\nDATA\r\n"
            f"{MARK.decode()}{name}\r\n\r\n{dice.randbytes(dice.randint(1, 50_000)).hex()}\r\n"
            ".".encode()
        )
        await writer.drain()
        await asyncio.sleep(dice.uniform(0, 0.03))
        writer.close()
        scanner.broken_off += 1


class Scanner:
    """Looks at the queues as listings and fsck do; `wrong` says what is not whole."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._dice = random.Random(0)
        self.looks = self.contents = self.broken_off = 0
        self.wrong: list[str] = []

    def look(self, daemon: Daemon) -> None:
        """Look at everything once."""
        for number in range(1, QUEUES + 1):
            with ControlClient(RunPaths(daemon.base / "spool").queue(number)) as client:
                listed = list(client.stream("mail list", MailListArgs(), StoredMessage))
                for message in listed:
                    self._check_envelope(message)
                for message in self._dice.sample(listed, min(LOOKED_INTO, len(listed))):
                    self._check_content(client, message)
            self.wrong += map(str, fsck.check(daemon.base / "spool" / f"queue{number}"))
        self.looks += 1

    def _check_envelope(self, message: StoredMessage) -> None:
        recipients = tuple(one.address for one in message.envelope.recipients)
        if not message.total_count == len(recipients) == len(message.statuses):
            self.wrong.append(f"{message.id}: {message.total_count} recipients: {recipients}")
        name = message.envelope.reverse_path.partition("@")[0]
        if not name:
            return  # a DSN
        sent = self._ledger.sent.get(name)
        if sent is None or sent.recipients != recipients:
            self.wrong.append(f"{name}: {recipients}")

    def _check_content(self, client: ControlClient, message: StoredMessage) -> None:
        content = self._content(client, message.id)
        name = message.envelope.reverse_path.partition("@")[0]
        if content is None or not name:
            return
        self.contents += 1
        _, mark, rest = content.partition(MARK)
        if hashlib.sha256(mark + rest).digest() != self._ledger.sent[name].digest:
            self.wrong.append(f"{name}: its content is another")

    def _content(self, client: ControlClient, queue_id: QueueId) -> bytes | None:
        """Return what `mail show --raw` prints; None where the message is gone by now."""
        try:
            _, *pieces = client.stream("mail show", MailShowArgs(queue_id, content=True), object)
        except ControlError as error:
            try:
                list(client.stream("mail show", MailShowArgs(queue_id), object))
            except ControlError:
                return None
            self.wrong.append(f"{queue_id}: {error}")
            return None
        return b"".join(base64.b64decode(piece) for piece in pieces)
