"""Spans of events, as the official protobuf reads them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from postroom.config.webhook import TRACE_EVENTS
from postroom.core.ids import derived_id, encode
from postroom.observe.events import (
    ALL_EVENTS,
    Event,
    MessageAccepted,
    MessageDeleted,
    MessageDone,
    MessageHeld,
    MessageSplit,
    RecipientDeferred,
    RecipientDelivered,
    RecipientFailed,
    ReportQueued,
)
from postroom.observe.stream.reader import StreamEvent
from postroom.webhooks.batch import batches_of, probe_of
from postroom.webhooks.otlp import Instance
from postroom.webhooks.spans import Context, Spans
from tests.support.collector import parsed, spans_of, values_of
from tests.unit.stream.streams import START, Stream, emit_together

ID = encode(int(START * 1000) - 1500, 7, 0)
INSTANCE = Instance.of("mail.example.org", "/var/spool/events")
SITE = ("default", "example.net", "mx1.example.net[192.0.2.1]:25")
SECOND_NS = 1_000_000_000


def events_of(directory: Path, *events: Event) -> list[StreamEvent]:
    """Return events as they are read from a stream, all of the time START."""
    stream = Stream(directory)
    emit_together(stream.open("queue1"), *events)
    return list(stream.reader.read().events)


def spans(directory: Path, *events: Event, sample: float = 1.0) -> list[Span]:
    form = Spans("traces", INSTANCE, sample)
    batches = batches_of(form, events_of(directory, *events), 1, 1000)
    return [one for lane in batches for batch in lane for one in spans_of(parsed(batch.body))]


def seconds(span: Span) -> tuple[float, float]:
    """Return start and end, relative to when the events were told."""
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    return start / SECOND_NS - START, end / SECOND_NS - START


LIFE = (
    MessageAccepted(ID, "me@here.test", 2, 4711, "ESMTPSA", "192.0.2.7", "shop", "acme"),
    RecipientDelivered(ID, "a@x.test", *SITE, "250 2.0.0 Ok", 1, 0.5, "acme", 0.25),
    RecipientDeferred(ID, "b@x.test", *SITE, "451 4.3.2 later", 1, START + 60, "acme", 0.25),
    RecipientFailed(ID, "b@x.test", *SITE, "550 no", 2, False, "acme", 1.0, 0.5),
    MessageDone(ID),
)


def test_a_life_is_one_trace_whose_root_has_the_rest_as_children(tmp_path: Path) -> None:
    found = spans(tmp_path, *LIFE)
    assert [one.name for one in found] == ["accept", "send", "send", "send", "message"]
    root = found[-1]
    assert {one.trace_id.hex() for one in found} == {Context.of(ID).trace_id}
    assert (root.span_id.hex(), root.parent_span_id) == (Context.of(ID).span_id, b"")
    assert {one.parent_span_id for one in found[:-1]} == {root.span_id}
    assert len({one.span_id for one in found}) == 5
    assert [len(one.trace_id) for one in found] == [16] * 5
    assert {len(one.span_id) for one in found} == {8}
    assert seconds(root) == (-1.5, 0.0)
    assert values_of(root.attributes) == {
        "messaging.system": "smtp", "messaging.message.id": ID, "postroom.queue": "queue1",
        "postroom.end": "done",
    }  # fmt: skip


def test_what_was_accepted_is_told_of_the_message(tmp_path: Path) -> None:
    [accept] = spans(tmp_path, LIFE[0])
    assert (accept.kind, seconds(accept)) == (Span.SPAN_KIND_SERVER, (-1.5, 0.0))
    assert values_of(accept.attributes) == {
        "messaging.system": "smtp", "messaging.message.id": ID, "postroom.queue": "queue1",
        "messaging.message.envelope.size": 4711, "client.address": "192.0.2.7",
        "user.name": "shop", "postroom.protocol": "ESMTPSA", "postroom.recipients": 2,
        "postroom.reverse_path": "me@here.test", "postroom.tenant": "acme",
    }  # fmt: skip


def test_an_attempt_has_its_own_time_and_the_reply(tmp_path: Path) -> None:
    delivered, deferred, failed = spans(tmp_path, *LIFE[1:4])
    assert {one.kind for one in (delivered, deferred, failed)} == {Span.SPAN_KIND_CLIENT}
    assert seconds(delivered) == (-0.25, 0.0)
    assert (delivered.status.code, delivered.status.message) == (0, "")
    values = values_of(delivered.attributes)
    assert values["messaging.operation.name"] == values["messaging.operation.type"] == "send"
    assert values["messaging.destination.name"] == "example.net"
    assert values["server.address"] == "mx1.example.net"
    assert (values["postroom.outcome"], values["postroom.attempt"]) == ("delivered", 1)
    assert (values["postroom.reply_code"], values["postroom.reply"]) == (250, "250 2.0.0 Ok")
    assert values["server.port"] == values["network.peer.port"] == 25
    assert values["network.peer.address"] == "192.0.2.1"
    assert "error.type" not in values

    values = values_of(deferred.attributes)
    assert (deferred.status.code, deferred.status.message) == (2, "451 4.3.2 later")
    assert (values["error.type"], values["postroom.outcome"]) == ("4.3.2", "deferred")
    assert values["postroom.due_at"] == "2023-11-14T22:14:20.000Z"

    values = values_of(failed.attributes)
    # It waited half a second for others before it was told.
    assert seconds(failed) == (-1.5, -0.5)
    assert (values["error.type"], values["postroom.outcome"]) == ("550", "failed")


def test_an_outcome_without_an_attempt_is_no_send(tmp_path: Path) -> None:
    nowhere = ("default", "example.net", "")
    defer, fail = spans(
        tmp_path,
        RecipientDeferred(ID, "a@x.test", *nowhere, "451 4.4.1 not tried", 1, START),
        RecipientFailed(ID, "a@x.test", *nowhere, "unreadable", 2, expired=True),
    )
    assert [(one.name, one.kind) for one in (defer, fail)] == [("defer", 1), ("fail", 1)]
    assert seconds(defer) == (0.0, 0.0)
    values = values_of(fail.attributes)
    assert (values["error.type"], values["postroom.outcome"]) == ("_OTHER", "expired")


def test_a_report_and_a_part_are_traces_of_their_own_and_linked(tmp_path: Path) -> None:
    report_id, part = encode(int(START * 1000), 8, 0), derived_id(ID, "bulk")
    report, split, deleted = spans(
        tmp_path,
        ReportQueued(report_id, ID, "failed", "a@x.test"),
        MessageSplit(ID, (ID, part), ("default", "bulk")),
        MessageDeleted(ID),
    )
    for span, other in ((report, report_id), (split, part)):
        assert span.trace_id.hex() == Context.of(ID).trace_id
        [link] = span.links
        context = Context.of(other)
        assert (link.trace_id.hex(), link.span_id.hex()) == (context.trace_id, context.span_id)
    assert (deleted.name, deleted.parent_span_id) == ("message", b"")
    assert values_of(deleted.attributes)["postroom.end"] == "deleted"


def test_the_same_events_give_the_same_spans_and_others_give_none(tmp_path: Path) -> None:
    assert spans(tmp_path / "one", *LIFE) == spans(tmp_path / "two", *LIFE)
    assert spans(tmp_path / "three", MessageHeld(ID, "an operator"), MessageDone("no id")) == []
    form = Spans("traces", INSTANCE)
    missed = b'{"time":"2026-01-31T09:15:02.113Z","queue":"webhooks","event":"missed","count":3}'
    assert form.piece(StreamEvent("", missed)) == b""
    assert form.piece(StreamEvent("x-1-1", b"{")) == b""


def test_a_clock_that_was_set_back_makes_no_span_that_ends_before_it_begins(tmp_path: Path) -> None:
    later = encode(int(START * 1000) + 60_000, 7, 0)
    delivered = RecipientDelivered(later, "a@x.test", *SITE, "250 Ok", 1, 0.5, "", 5.0)
    for span in spans(tmp_path, delivered, MessageDone(later)):
        assert span.start_time_unix_nano <= span.end_time_unix_nano


def test_a_sample_has_whole_traces_and_says_how_many_it_stands_for(tmp_path: Path) -> None:
    ids = [encode(int(START * 1000), 9, number) for number in range(2000)]
    events = [event for one in ids for event in (MessageAccepted(one, "", 1, 1, "x"),
                                                 MessageDone(one))]  # fmt: skip

    async def read() -> list[StreamEvent]:
        stream = Stream(tmp_path)
        log = stream.open("queue1")
        for event in events:
            log.emit(event)
        log.flush()
        return list(stream.reader.read(limit=5000).events)

    kept = [Spans("x", INSTANCE, 0.25).span(one) for one in asyncio.run(read())]
    chosen = [one for one in kept if one is not None]
    assert 800 < len(chosen) < 1200, "about a quarter of 4000"
    by_trace: dict[str, int] = {}
    for one in chosen:
        by_trace[one.trace_id] = by_trace.get(one.trace_id, 0) + 1
    assert set(by_trace.values()) == {2}
    assert {one.trace_state for one in chosen} == {"ot=th:c"}
    assert all(int(trace[-14:], 16) >= 0xC0000000000000 for trace in by_trace)


def test_the_resource_says_which_server_it_was(tmp_path: Path) -> None:
    form = Spans("traces", INSTANCE)
    request = parsed(probe_of(form, START).body)
    [resource] = request.resource_spans
    values = values_of(resource.resource.attributes)
    assert (values["service.name"], values["host.name"]) == ("postroom", "mail.example.org")
    assert values["service.instance.id"] == INSTANCE.id != Instance.of("b", "/x").id
    assert values["service.version"]
    [test] = spans_of(request)
    assert (test.name, test.start_time_unix_nano) == ("test", int(START) * SECOND_NS)


@pytest.mark.parametrize("name", TRACE_EVENTS)
def test_every_event_that_is_read_for_traces_has_a_span(name: str) -> None:
    [kind] = [one for one in ALL_EVENTS if one.__struct_config__.tag == name]
    values: dict[str, Any] = {
        "str": ID, "int": 1, "float": START, "bool": False, "tuple[str, ...]": (ID,),
    }  # fmt: skip
    fields = {field: values[str(given)] for field, given in kind.__annotations__.items()}
    line = {"time": "2026-01-31T09:15:02.113Z", "queue": "queue1", "event": name, **fields}
    found = Spans("x", INSTANCE).span(StreamEvent("queue1-1-1", json.dumps(line).encode()))
    assert found is not None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("[2001:db8::1]:25", {"server.address": "2001:db8::1", "server.port": 25,
                              "network.peer.address": "2001:db8::1", "network.peer.port": 25}),
        ("unix:/run/lmtp", {"server.address": "unix:/run/lmtp"}),
        ("", {}),
    ],
)  # fmt: skip
def test_a_host_is_named_as_the_conventions_do(
    tmp_path: Path, host: str, expected: dict[str, Any]
) -> None:
    told = RecipientDelivered(ID, "a@x.test", "default", "x", host, "250 Ok", 1, 0.5, "", 0.1)
    [span] = spans(tmp_path, told)
    values = values_of(span.attributes)
    found = {name: one for name, one in values.items() if name.startswith(("server", "network"))}
    assert found == expected
