"""OTLP: spans and the requests that carry them, in the JSON encoding of OTLP.

What deviates from the JSON of protobuf: ids are in hexadecimal, and enums are numbers. Numbers of
64 bits are texts, as there.

Pure.  Called by: webhooks.spans, webhooks.form.  Raises: nothing.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from postroom import __version__

SERVICE = "postroom"
_NAMESPACE = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
"""Which the semantic conventions give for a service.instance.id that is derived."""
_MILLISECOND_NS = 1_000_000


class Kind(enum.IntEnum):
    """Of a span, as far as we have it: our own work, what we were asked for, what we ask of others.

    CLIENT is right for sending where who takes the message does not go on with our trace.
    """

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Value(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """The value of an attribute: one of these."""

    string_value: str | UnsetType = UNSET
    int_value: str | UnsetType = UNSET
    bool_value: bool | UnsetType = UNSET


class Attribute(msgspec.Struct, frozen=True, gc=False):
    """A name and a value."""

    key: str
    value: Value


class Link(msgspec.Struct, frozen=True, rename="camel"):
    """A span of another trace that a span has to do with."""

    trace_id: str
    span_id: str


class Status(msgspec.Struct, frozen=True):
    """How the work of a span ended: `code` 2 is an error."""

    message: str
    code: int = 2


class Span(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One span; times are nanoseconds since 1970."""

    trace_id: str
    span_id: str
    name: str
    kind: Kind
    start_time_unix_nano: str
    end_time_unix_nano: str
    attributes: tuple[Attribute, ...] = ()
    parent_span_id: str = ""
    trace_state: str = ""
    links: tuple[Link, ...] = ()
    status: Status | UnsetType = UNSET


class Instance(msgspec.Struct, frozen=True):
    """The server that spans come from."""

    id: str
    host: str

    @classmethod
    def of(cls, hostname: str, directory: str) -> Instance:
        """Return the instance that keeps its events in a directory of a host."""
        return cls(str(uuid.uuid5(_NAMESPACE, f"{hostname} {directory}")), hostname)


def attributes(values: Mapping[str, str | int | bool]) -> tuple[Attribute, ...]:
    """Return attributes; a text that is empty says nothing and is left out."""
    return tuple([Attribute(key, _value(one)) for key, one in values.items() if one != ""])


def _value(given: str | int | bool) -> Value:
    if isinstance(given, bool):
        return Value(bool_value=given)
    return Value(int_value=str(given)) if isinstance(given, int) else Value(string_value=given)


def nanoseconds(milliseconds: float) -> str:
    """Return a time as spans have it."""
    return str(round(milliseconds) * _MILLISECOND_NS)


class Frame:
    """What stands around the spans of a request."""

    def __init__(self, instance: Instance) -> None:
        resource = attributes({
            "service.name": SERVICE,
            "service.version": __version__,
            "service.instance.id": instance.id,
            "host.name": instance.host,
        })  # fmt: skip
        self._head = (
            b'{"resourceSpans":[{"resource":{"attributes":%b},"scopeSpans":[{"scope":'
            b'{"name":"%b","version":%b},"spans":['
        ) % (
            msgspec.json.encode(resource), SERVICE.encode(), msgspec.json.encode(__version__),
        )  # fmt: skip

    def around(self, spans: Sequence[bytes]) -> bytes:
        """Return an ExportTraceServiceRequest with these spans, which are JSON."""
        return self._head + b",".join(spans) + b"]}]}]}"
