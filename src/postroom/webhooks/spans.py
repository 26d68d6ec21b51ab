"""Spans: what the events of messages are in a trace, one span for one event.

A message is a trace, whose ids are made of its queue id; so no state is kept, and whoever makes a
span again makes the same one.

    message                     from its queue id to `done`, or `deleted`
    ├─ accept                   until it was durable
    ├─ send                     an attempt, for one recipient, as long as it took
    ├─ defer, fail              an outcome without an attempt
    ├─ report                   a DSN about it; links to the trace of the DSN
    └─ split                    links to the traces of its other parts

The names and attributes are those of OpenTelemetry's semantic conventions for messaging where they
have one, else they begin with "postroom.". `send` has no destination in its name: there are as
many as there are sites.

Pure.  Guarantees: 1. the same event gives the same span, in every process.  2. of a trace either
all spans are made or none (`sample`).
Called by: webhooks.form.  Raises: nothing; what is no event of a message gives no span.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

import msgspec
from msgspec import UNSET, UnsetType

from postroom.core.ids import QueueId, millisecond_of, parse_queue_id
from postroom.observe.events import (
    MessageAccepted,
    MessageDeleted,
    MessageDone,
    MessageSplit,
    RecipientDeferred,
    RecipientDelivered,
    RecipientFailed,
    ReportQueued,
)
from postroom.observe.stream.moments import as_time
from postroom.observe.stream.reader import StreamEvent
from postroom.webhooks.otlp import (
    Frame,
    Instance,
    Kind,
    Link,
    Span,
    Status,
    attributes,
    nanoseconds,
)

ROOT, ACCEPT, SEND, DEFER, FAIL, REPORT, SPLIT = (
    "message", "accept", "send", "defer", "fail", "report", "split",
)  # fmt: skip
SYSTEM = "smtp"
_RANDOM_BITS = 56
"""OTEP 235: those of a trace id, its last, by which traces are chosen."""

_Outcome = RecipientDelivered | RecipientDeferred | RecipientFailed
_Told = MessageAccepted | _Outcome | ReportQueued | MessageSplit | MessageDone | MessageDeleted
_Values = dict[str, str | int | bool]
_PLACE = re.compile(r"([^][]*)\[([^][]+)\]:(\d{1,5})")
"""How events name a host: "name[address]:port", without a name where nobody knows one."""
_REPLY = re.compile(r"([2-5]\d\d)(?: ([245]\.\d{1,3}\.\d{1,3}))?(?: |$)")


class _Head(msgspec.Struct, frozen=True):
    """What every line of the stream begins with."""

    time: str
    queue: str


_told = msgspec.json.Decoder(_Told).decode
_head = msgspec.json.Decoder(_Head).decode


class Context(msgspec.Struct, frozen=True):
    """The trace of a message, and its root."""

    trace_id: str
    span_id: str

    @classmethod
    def of(cls, queue_id: str) -> Context:
        """Return the context of the message with this queue id."""
        digest = _digest(queue_id, 24)
        return cls(digest[:32], digest[32:])


class Spans:
    """Spans in requests of OTLP. Satisfies webhooks.batch.Form."""

    def __init__(self, name: str, instance: Instance, sample: float = 1.0) -> None:
        self.name = name
        self._frame = Frame(instance)
        # A trace is rejected whose random bits are below it: the same everywhere, also where a
        # collector chooses once more, which the state tells what was chosen before.
        self._threshold = round((1.0 - sample) * (1 << _RANDOM_BITS))
        self._state = f"ot=th:{self._threshold:014x}".rstrip("0") if self._threshold else ""

    def piece(self, event: StreamEvent) -> bytes:
        """Return the span of an event as JSON; nothing where it has none."""
        span = self.span(event)
        return msgspec.json.encode(span) if span is not None else b""

    def body(self, pieces: Sequence[bytes], last: StreamEvent) -> bytes:
        """Return the request with these spans."""
        return self._frame.around(pieces)

    def probe(self, now: float) -> bytes:
        """Return a request with a span of its own: one without any may be thrown away unread."""
        digest = _digest(f"test {self.name} {now}", 24)
        at = nanoseconds(now * 1000.0)
        values = attributes({"postroom.webhook": self.name})
        span = Span(digest[:32], digest[32:], "test", Kind.INTERNAL, at, at, values)
        return self._frame.around([msgspec.json.encode(span)])

    def span(self, event: StreamEvent) -> Span | None:
        """Return the span of an event."""
        try:
            told, head = _told(event.line), _head(event.line)
            queue_id = parse_queue_id(told.about if isinstance(told, ReportQueued) else told.id)
            end_ms = datetime.fromisoformat(head.time).timestamp() * 1000.0
        except ValueError:  # msgspec's are, too
            return None
        context = Context.of(queue_id)
        if int(context.trace_id, 16) & ((1 << _RANDOM_BITS) - 1) < self._threshold:
            return None
        return self._of(told, context, queue_id, end_ms, head.queue, event.id)

    def _of(
        self, told: _Told, context: Context, queue_id: QueueId, end_ms: float, queue: str,
        event_id: str,
    ) -> Span:  # fmt: skip
        values: _Values = {
            "messaging.system": SYSTEM, "messaging.message.id": queue_id, "postroom.queue": queue,
        }  # fmt: skip
        began_ms = float(millisecond_of(queue_id))
        start_ms, kind = end_ms, Kind.INTERNAL
        links: tuple[Link, ...] = ()
        status: Status | UnsetType = UNSET
        match told:
            case MessageAccepted():
                name, kind, start_ms = ACCEPT, Kind.SERVER, began_ms
                values |= _accepted(told)
            case RecipientDelivered() | RecipientDeferred() | RecipientFailed():
                name = _name_of(told)
                values |= _outcome(told)
                if not isinstance(told, RecipientDelivered):
                    status = Status(told.reply)
                    end_ms -= told.waited_s * 1000.0
                start_ms = end_ms - told.took_s * 1000.0
                if name == SEND:
                    kind = Kind.CLIENT
                    values |= {"messaging.operation.name": SEND, "messaging.operation.type": SEND}
            case ReportQueued():
                name, links = REPORT, _links((told.id,))
                values |= {"postroom.report": told.kind, "postroom.recipient": told.recipient}
            case MessageSplit():
                name = SPLIT
                links = _links([one for one in told.into if one != queue_id])
            case MessageDone() | MessageDeleted():
                name, start_ms = ROOT, began_ms
                values["postroom.end"] = "done" if isinstance(told, MessageDone) else "deleted"
        is_root = name == ROOT
        return Span(
            context.trace_id,
            context.span_id if is_root else _digest(f"{queue_id} {event_id}", 8),
            name,
            kind,
            # The clock may have been set back meanwhile.
            nanoseconds(min(max(start_ms, began_ms), end_ms)),
            nanoseconds(end_ms),
            attributes(values),
            "" if is_root else context.span_id,
            self._state,
            links,
            status,
        )


def _accepted(told: MessageAccepted) -> _Values:
    return {
        "messaging.message.envelope.size": told.size_octets,
        "client.address": told.client,
        "user.name": told.user,
        "postroom.protocol": told.protocol,
        "postroom.reverse_path": told.reverse_path,
        "postroom.recipients": told.recipients,
        "postroom.tenant": told.tenant,
    }


def _name_of(told: _Outcome) -> str:
    if isinstance(told, RecipientDelivered) or told.took_s or told.host:
        return SEND
    return DEFER if isinstance(told, RecipientDeferred) else FAIL


def _outcome(told: _Outcome) -> _Values:
    values: _Values = {
        "messaging.destination.name": told.site,
        "postroom.recipient": told.recipient,
        "postroom.channel": told.channel,
        "postroom.tenant": told.tenant,
        "postroom.attempt": told.attempts,
        "postroom.reply": told.reply,
    }
    values |= _place(told.host)
    found = _REPLY.match(told.reply)
    if found is not None:
        values["postroom.reply_code"] = int(found[1])
    match told:
        case RecipientDelivered():
            values["postroom.outcome"] = "delivered"
            return values
        case RecipientDeferred():
            values["postroom.outcome"] = "deferred"
            values["postroom.due_at"] = as_time(told.due_at).decode()
        case RecipientFailed():
            values["postroom.outcome"] = "expired" if told.expired else "failed"
    # Of few values, as the conventions ask: never the text of a reply.
    values["error.type"] = (found[2] or found[1]) if found is not None else "_OTHER"
    return values


def _place(host: str) -> _Values:
    found = _PLACE.fullmatch(host)
    if found is None:
        return {"server.address": host}  # a socket of this machine, or nobody
    name, address, port = found[1], found[2], int(found[3])
    return {
        "server.address": name or address,
        "server.port": port,
        "network.peer.address": address,
        "network.peer.port": port,
    }


def _links(ids: Sequence[str]) -> tuple[Link, ...]:
    return tuple([Link(one.trace_id, one.span_id) for one in map(Context.of, ids)])


def _digest(text: str, octets: int) -> str:
    return blake2b(text.encode(), digest_size=octets, person=b"postroom trace").hexdigest()
