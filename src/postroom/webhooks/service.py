"""The webhooks process: reads the stream for each consumer, sends, and remembers.

Satisfies supervisor.companion.Companion. One task for each webhook: none waits for another.
Called by: webhooks.main.  Raises: nothing; what fails is told by events and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Sequence

import msgspec

from postroom.config.model import Config
from postroom.config.webhook import WebhookPolicy
from postroom.core.clock import Clock
from postroom.core.errors import ConfigurationError
from postroom.observe.events import Defect, SettingIgnored
from postroom.observe.log import EventLog
from postroom.observe.stream.cursor import START
from postroom.observe.stream.reader import StreamReader
from postroom.observe.stream.tail import POLL_S
from postroom.supervisor.link import CompanionBegin
from postroom.webhooks.batch import Batch, Form
from postroom.webhooks.consumer import Consumer
from postroom.webhooks.form import form_of
from postroom.webhooks.kept import Kept, KeptFiles
from postroom.webhooks.sender import Sender

SAVE_S = 1.0
"""How often a cursor that moves is written down: after a crash so much is sent again."""
FAILURE_S = 10.0
"""How long after a failure of ours it is tried again."""
NICENESS = 5
"""Mail goes first where there is not enough CPU for all."""


async def open_webhooks(begin: CompanionBegin, clock: Clock, log: EventLog) -> Webhooks:
    """Return what sends; satisfies supervisor.companion.OpenCompanion."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    return Webhooks(begin.config, clock, log)


class Webhooks:
    """All webhooks of one server."""

    def __init__(self, config: Config, clock: Clock, log: EventLog) -> None:
        self._config = config
        self._clock = clock
        self._log = log
        self._runs: dict[tuple[WebhookPolicy, str], asyncio.Task[None]] = {}
        """By their settings and the name of this host, which spans have."""
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Send until `stop`."""
        self.apply(self._config)
        await self._ended.wait()

    def apply(self, config: Config) -> None:
        """Use a configuration: a webhook that changed goes on where the old one was."""
        self._config = config
        wanted = [(policy, config.hostname) for policy in config.webhooks]
        gone = [self._runs.pop(one) for one in list(self._runs) if one not in wanted]
        for task in gone:
            task.cancel()
        for key in wanted:
            if key not in self._runs:
                form = form_of(key[0], config)
                run = _Run(key[0], form, config.events.directory, self._clock, self._log)
                self._runs[key] = asyncio.create_task(run.run(gone))

    async def stop(self, deadline_s: float) -> None:
        """Begin nothing new; what is under way and not answered is sent again at the next start."""
        tasks = list(self._runs.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_s)
        self._ended.set()


class _Run:
    """One webhook at work."""

    def __init__(
        self, policy: WebhookPolicy, form: Form, directory: str, clock: Clock, log: EventLog
    ) -> None:
        self._policy = policy
        self._form = form
        self._clock = clock
        self._log = log
        self._reader = StreamReader(directory, clock)
        self._files = KeptFiles(directory)
        self._saved_at = 0.0
        self._is_changed = False
        """Whether it has other settings than before: what failed may work now."""
        self._moved = asyncio.Event()
        """Set when a request was answered."""

    async def run(self, before: Sequence[asyncio.Task[None]]) -> None:
        """Send until cancelled; a failure of ours is told, and it begins anew."""
        if before:
            # One of them is the same webhook with other settings: it writes down where it was.
            await asyncio.wait(before)
        self._is_changed = bool(before)
        while True:
            try:
                await self._run()
            except (ConfigurationError, OSError) as error:
                self._log.emit(SettingIgnored(f"webhook.{self._policy.name}", str(error)))
            except Exception as error:
                self._log.emit(Defect("webhooks", f"{type(error).__name__}: {error}"))
            await asyncio.sleep(FAILURE_S)

    async def _run(self) -> None:
        name = self._policy.name
        kept = await asyncio.to_thread(self._files.read, name)
        if kept is None and not self._files.is_known(name):
            kept = Kept(await asyncio.to_thread(self._reader.end))
            self._files.write(name, kept)
        elif kept is None:
            # Better some events twice than some never.
            text = "its place cannot be read: it begins with the first event that is kept"
            self._log.emit(SettingIgnored(f"webhook.{name}", text))
            kept = Kept(str(START))
        if self._is_changed:
            kept = msgspec.structs.replace(kept, next_at=0.0)
            self._is_changed = False
        consumer = Consumer(self._policy, self._form, kept, random.SystemRandom())
        async with Sender(self._policy, self._clock) as sender:
            sending = asyncio.TaskGroup()
            try:
                async with sending:
                    while True:
                        await self._turn(consumer, sender, sending)
            finally:
                self._save(consumer)

    async def _turn(self, consumer: Consumer, sender: Sender, sending: asyncio.TaskGroup) -> None:
        self._moved.clear()
        now = self._clock.now()
        is_more = False
        if cursor := self._files.replay(self._policy.name):
            consumer.rewind(cursor)
            self._save(consumer)
            self._files.replayed(self._policy.name)
        if not consumer.is_failing or now >= consumer.next_at:
            if count := consumer.wants():
                page = await asyncio.to_thread(
                    self._reader.read, consumer.kept.cursor, self._policy.wanted, count
                )
                consumer.take(page, now)
                is_more = page.is_more
            for batch in consumer.start(self._clock.now()):
                sending.create_task(self._send(consumer, sender, batch))
        if consumer.is_changed and now - self._saved_at >= SAVE_S:
            self._save(consumer)
        if consumer.in_flight or not is_more:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._moved.wait()

    async def _send(self, consumer: Consumer, sender: Sender, batch: Batch) -> None:
        answer = await sender.send(batch)
        told = consumer.settle(batch, answer, self._clock.now())
        for event in told:
            self._log.emit(event)
        if told:
            self._save(consumer)
        self._moved.set()

    def _save(self, consumer: Consumer) -> None:
        if not consumer.is_changed:
            return
        try:
            self._files.write(self._policy.name, consumer.kept)
        except OSError as error:
            # It is sent all the same; a crash now would send it again.
            text = f"its place cannot be written down: {error}"
            self._log.emit(SettingIgnored(f"webhook.{self._policy.name}", text))
        consumer.is_changed = False
        self._saved_at = self._clock.now()
