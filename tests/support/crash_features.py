"""What is switched on while a crash test runs: everything that lies on the way of mail.

Owns the receiver of the webhook, the token of the HTTP API and the configuration: limits of every
scope, tenants, a group of its own by sender and by destination (so that messages are split),
queues that grow and shrink, the event stream, a webhook, and the console that takes mail by HTTP.

Checks at the end: every `delivered` event of the stream tells of mail that was received, has an
id of its own, and was posted to the webhook, signed; the stream has no gap.

Called by: tests.support.crash_run, .soak_run.  Raises: AssertionError where the server does not
answer.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

from postroom.control.answers import Changed
from postroom.control.commands import LoadSetArgs
from postroom.control.protocol import ControlError
from postroom.control.tokens import Role, Tokens
from postroom.core.clock import SystemClock
from postroom.observe.stream.reader import StreamReader
from postroom.observe.stream.wanted import Wanted
from tests.support.daemon import Daemon
from tests.support.ledger import BACK, Ledger
from tests.support.ports import free_port
from tests.support.receiver import Receiver

QUEUES = 3
QUEUES_MAX = 4
IN_FLIGHT_MAX = 40
"""Over all queues: `limits.concurrency`."""
SENDERS = (BACK, "back.small.example", "back.bulk.example")
"""Of nobody, of a tenant, of a group."""
DOMAINS = {"now.example": 6, "grey.example": 2, "far.example": 1}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = "shop"
GROW_SHARE, SHRINK_SHARE = 0.1, 0.3
PAGE = 5000
WEBHOOK_DEADLINE_S = 120.0


LIMITS = f"""
[limits]
concurrency = {IN_FLIGHT_MAX}
rate = "4000/1s"
[channel.grey]
match = ["grey.example"]
retry = "list 1s for 1h"
concurrency = 30
per_site = {{ concurrency = 12 }}
[tenant.small]
senders = ["small.example", "back.small.example"]
concurrency = 8
rate = "600/1s"
[group.default]
placement = "round-robin"
[group.bulk]
queues = [{QUEUES}]
senders = ["back.bulk.example"]
match = ["far.example"]
[scaling]
interval = 0.1
samples = 2
cool_down = 0.3
minimum_life = 0
"""


class Features:
    """What belongs to one server while it is tried."""

    def __init__(self, base: Path) -> None:
        self.console = free_port()
        self.receiver = Receiver(SECRET)
        self._secret = base / "secret"
        self._secret.write_text(SECRET + "\n")
        self._secret.chmod(0o600)
        self.token = ""
        self.posted: set[str] = set()
        """The ids of the events that came by the webhook."""
        self.grown = 0
        self.events = 0

    def __enter__(self) -> Features:
        self.receiver.__enter__()
        return self

    def __exit__(self, *about: object) -> None:
        self.receiver.__exit__(None, None, None)

    @property
    def tables(self) -> str:
        """What the console and the webhook are told."""
        return f"""
[console]
address = ["127.0.0.1:{self.console}"]
[webhook.{HOOK}]
url = "{self.receiver.url}"
secret_file = "{self._secret}"
events = ["delivered"]
batch = 500
retry_max = "1s"
"""

    def begin(self, daemon: Daemon) -> None:
        """Wait until the webhook listens, and make the token."""
        kept = daemon.base / "spool-events" / "_webhooks" / f"{HOOK}.json"
        daemon.wait_until(kept.exists, 60, "the webhook has begun")
        tokens = Tokens(daemon.base / "spool", SystemClock())
        try:
            self.token, _ = tokens.create("shop", Role.OPERATOR)
        finally:
            tokens.close()

    def take_in(self) -> None:
        """Keep of what the webhook brought only the ids: a long run has many."""
        bodies = self.receiver.bodies
        while bodies:
            body = bodies.pop(0)
            if body["type"] == "events":
                self.posted.update(event["event_id"] for event in body["data"]["events"])
        self.receiver.ids.clear()

    def scale(self, daemon: Daemon, dice: random.Random) -> None:
        """Now and then have the queues pretend a load, so that they become more or fewer."""
        chance = dice.random()
        if chance >= GROW_SHARE + SHRINK_SHARE:
            return
        load_ppm = 2_000_000 if chance < GROW_SHARE else 0
        # It is just being ended, or the queue just goes.
        with contextlib.suppress(ControlError, OSError):
            queues = daemon.status().queues
            self.grown = max(self.grown, len(queues))
            for queue in queues:
                daemon.control("load set", LoadSetArgs(queue.queue, load_ppm), Changed)

    def stream(self, daemon: Daemon) -> Iterator[tuple[str, dict[str, str]]]:
        """Give the `delivered` events of the stream with their ids, and what is missing."""
        reader, cursor = StreamReader(daemon.base / "spool-events", SystemClock()), ""
        wanted = Wanted(events=("delivered", "missed"))
        while True:
            page = reader.read(cursor, wanted, PAGE)
            for event in page.events:
                yield event.id, json.loads(event.line)
            cursor = page.cursor
            if not page.is_more:
                return

    def check(
        self, daemon: Daemon, ledger: Ledger, seconds: float = WEBHOOK_DEADLINE_S
    ) -> list[str]:
        """Return what is wrong with stream and webhook; all is delivered, the server runs."""
        wrong = []
        seen: set[str] = set()
        for id, event in self.stream(daemon):
            self.events += 1
            if event["event"] == "missed":
                wrong.append(f"the event stream has a gap: {event}")
            elif id in seen:
                wrong.append(f"the event {id} is in the stream twice")
            else:
                # Stream and log are written apart: a kill may take the line from one of them.
                ledger.told.add(event["recipient"])
            seen.add(id)
        if wrong:
            return wrong[:20]

        def all_posted() -> bool:
            self.take_in()
            return seen <= self.posted

        try:
            daemon.wait_until(all_posted, seconds, "the webhook has every event of the stream")
        except AssertionError:
            wrong.append(f"{len(seen - self.posted)} events of the stream were never posted")
        if self.receiver.forged:
            wrong.append(f"{self.receiver.forged} requests of the webhook had a wrong signature")
        return wrong
