"""Which messages a command is about, in the words of a command line.

    ID ...                    these messages
    domain=example.com        a recipient's domain; *.example.com and all below it
    recipient=a@example.com   sender=a@example.com   sender=<> (the null reverse-path)
    state=waiting|deferred|scheduled|held
    age>1h   age<10m          since arrival
    queue=2                   only that queue
    all                       everything: asked for, never assumed

All conditions must hold.  Called by: cli.mail.  Raises: ValueError that says what was
expected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from postroom.core.ids import QueueId, parse_queue_id
from postroom.core.units import parse_duration
from postroom.spool.store import Selection

STATES = ("waiting", "deferred", "scheduled", "held")
EXPECTED = (
    "an id, domain=, recipient=, sender=, state=waiting|deferred|scheduled|held, age>1h, "
    "age<10m, queue=N, or all"
)
_CONDITION = re.compile(r"(id|domain|recipient|sender|state|queue)=(.*)\Z", re.DOTALL)
_AGE = re.compile(r"age([<>])(.*)\Z")


class MailFilter(msgspec.Struct, frozen=True):
    """A selection, and the queues it is asked of (none: all)."""

    selection: Selection = Selection()
    queues: tuple[int, ...] = ()


def parse_filter(words: Sequence[str], *, needed: bool) -> MailFilter:
    """Return what the words mean. `needed`: no words is a mistake, everything is "all"."""
    if not words and needed:
        raise ValueError(f'say which messages ({EXPECTED}); "all" means every message')
    ids: list[QueueId] = []
    queues: list[int] = []
    fields: dict[str, object] = {}
    for word in words:
        name, value = _taken_apart(word)
        if name == "id":
            ids += [parse_queue_id(text) for text in value.split(",")]
        elif name == "queue":
            try:
                queues += [parse_queue(text) for text in value.split(",")]
            except ValueError as error:
                raise ValueError(f"{word}: {error}") from None
        elif name != "all":
            key, meaning = _field(name, value)
            if key in fields:
                raise ValueError(f"{word}: {name} is given twice")
            fields[key] = meaning
        elif len(words) > 1:
            raise ValueError('"all" stands alone')
    fields["ids"] = tuple(ids)
    return MailFilter(msgspec.convert(fields, Selection), tuple(queues))


def _taken_apart(word: str) -> tuple[str, str]:
    if word == "all":
        return "all", ""
    if condition := _CONDITION.match(word):
        if not condition[2]:
            raise ValueError(f"{word}: a value is missing")
        return condition[1], condition[2]
    if age := _AGE.match(word):
        return f"age{age[1]}", age[2]
    try:
        parse_queue_id(word.lower())
    except ValueError:
        raise ValueError(f"{word!r} selects nothing; expected {EXPECTED}") from None
    return "id", word.lower()


def _field(name: str, value: str) -> tuple[str, object]:
    """Return the field of Selection, and its value."""
    match name:
        case "sender":
            return "reverse_path", "" if value == "<>" else value.strip("<>")
        case "recipient":
            return "recipient", value.strip("<>")
        case "state":
            if value not in STATES:
                raise ValueError(f"state={value}: expected waiting, deferred, scheduled or held")
            return "state", value
        case "age>":
            return "older_than_s", parse_duration(value)
        case "age<":
            return "newer_than_s", parse_duration(value)
        case _:
            return name, value


def parse_queue(text: str) -> int:
    """Return the number of a queue, from "2" or "queue2"."""
    digits = text.removeprefix("queue")
    if not digits.isdecimal():
        raise ValueError("expected a number")
    return int(digits)
