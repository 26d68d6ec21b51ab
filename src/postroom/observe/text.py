"""Events as text for people: "delivered id=01h... recipient=a@example.org".

A value with spaces, quotes or anything unprintable is written as a JSON string, so that
nobody can forge a line. Times are written as RFC 3339. Values at their default are left
out.
Called by: observe.lines, cli.events.  Raises: UnicodeError for text that is not Unicode.
"""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from postroom.observe.events import Event

_odd = re.compile(r"[^!#-~]").search


class TextEncoder:
    """Makes the text of events; remembers the fields of each type."""

    __slots__ = ("_fields",)

    def __init__(self) -> None:
        self._fields: dict[type[Event], tuple[str, list[tuple[str, Any]]]] = {}

    def encode(self, event: Event) -> str:
        """Return the event's name and its fields."""
        known = self._fields.get(type(event))
        if known is None:
            known = self._fields[type(event)] = _describe(type(event))
        name, fields = known
        parts = [name]
        for field, default in fields:
            value = getattr(event, field)
            if value == default:
                continue
            parts.append(f"{field}={_text(field, value)}")
        return " ".join(parts)


def line_as_text(line: bytes) -> str:
    """Return the text of an event whose line is JSON, as the log has it with its time."""
    fields = msgspec.json.decode(line, type=dict[str, Any])
    head = " ".join(str(fields.pop(name, "")) for name in ("time", "queue", "event"))
    return " ".join([head, *(f"{field}={_text(field, value)}" for field, value in fields.items())])


def _text(field: str, value: Any) -> str:
    if type(value) is str:
        return msgspec.json.encode(value).decode() if _odd(value) or not value else value
    if type(value) is float:
        return _moment(value) if _is_moment(field) else f"{value:.3f}"
    return str(value).lower() if type(value) is bool else str(value)


def _describe(kind: type[Event]) -> tuple[str, list[tuple[str, Any]]]:
    fields = [(field.name, field.default) for field in msgspec.structs.fields(kind)]
    return str(kind.__struct_config__.tag), fields


def _is_moment(field: str) -> bool:
    return field.endswith("_at") or field == "until"


def _moment(value: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
