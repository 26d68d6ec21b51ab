"""Forms: what is sent to a webhook, events as they are or spans made of them.

    {"type": "events", "timestamp": TIME, "data": {"webhook": NAME, "events": [EVENT, ...]}}

Called by: webhooks.service, cli.webhooks.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from postroom.config.model import Config
from postroom.config.webhook import OTLP, WebhookPolicy
from postroom.observe.stream.block import time_of
from postroom.observe.stream.moments import as_time
from postroom.observe.stream.reader import StreamEvent
from postroom.webhooks.batch import Form
from postroom.webhooks.otlp import Instance
from postroom.webhooks.spans import Spans


class Events:
    """Events, each as it is in the stream. Satisfies webhooks.batch.Form."""

    def __init__(self, name: str) -> None:
        self.name = name

    def piece(self, event: StreamEvent) -> bytes:
        """Return the event with its id."""
        return event.json

    def body(self, pieces: Sequence[bytes], last: StreamEvent) -> bytes:
        """Return the body with these events."""
        return b'{"type":"events","timestamp":"%b","data":{"webhook":%b,"events":[%b]}}' % (
            time_of(last.line), msgspec.json.encode(self.name), b",".join(pieces),
        )  # fmt: skip

    def probe(self, now: float) -> bytes:
        """Return a body without events."""
        name = msgspec.json.encode(self.name)
        return b'{"type":"test","timestamp":"%b","data":{"webhook":%b}}' % (as_time(now), name)


def form_of(policy: WebhookPolicy, config: Config) -> Form:
    """Return the form of what a webhook of this server is sent."""
    if policy.format != OTLP:
        return Events(policy.name)
    instance = Instance.of(config.hostname, config.events.directory)
    return Spans(policy.name, instance, policy.sample)
