"""A collector of traces for tests: takes OTLP/HTTP with JSON, checked by the official protobuf.

`parsed` is what makes protobuf of a body; it raises ParseError for a field that does not exist.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.receiver import HttpThread

_IDS = {"traceId", "spanId", "parentSpanId"}


def parsed(body: bytes) -> ExportTraceServiceRequest:
    """Return a body as the protobuf that it stands for."""
    return json_format.Parse(json.dumps(_plain(json.loads(body))), ExportTraceServiceRequest())


def _plain(value: Any, key: str = "") -> Any:
    """Return OTLP's JSON as protobuf's: ids are base64 there, and hexadecimal here."""
    if isinstance(value, dict):
        return {name: _plain(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if key in _IDS:
        return base64.b64encode(bytes.fromhex(value)).decode()
    if key in ("kind", "code"):
        assert isinstance(value, int), "OTLP: enums are numbers"
    return value


def spans_of(request: ExportTraceServiceRequest) -> list[Span]:
    """Return the spans of a request."""
    return [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def values_of(attributes: Any) -> dict[str, str | int | bool]:
    """Return attributes by name."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class Collector(HttpThread):
    """Listens while it is entered, also more than once, at one port."""

    path = "/v1/traces"

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.answer: dict[str, Any] = {}
        self.refused = 0
        self.authorizations: set[str] = set()
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def url(self) -> str:
        """Where spans are posted to."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def spans(self) -> list[Span]:
        """Return what it took, each span once."""
        every = [span for request in list(self.requests) for span in spans_of(request)]
        return list({span.span_id: span for span in every}.values())

    def traces(self) -> dict[str, list[Span]]:
        """Return the spans of each message, by queue id."""
        found: dict[str, list[Span]] = {}
        for span in self.spans():
            queue_id = str(values_of(span.attributes).get("messaging.message.id", ""))
            found.setdefault(queue_id, []).append(span)
        return found

    async def take(self, request: web.Request) -> web.Response:
        """Take one request."""
        body = await request.read()
        assert request.content_type == "application/json"
        self.authorizations.add(request.headers.get("authorization", ""))
        if self.status == 200:
            self.requests.append(parsed(body))
        else:
            self.refused += 1
        return web.json_response(self.answer, status=self.status, headers=self.headers)
