"""Which events somebody wants.

Looks at lines as they are first: a block in which what is asked for does not occur is passed
over unread, so that the life of one message is found in a gigabyte within seconds.

Called by: observe.stream.reader, cli, webhooks.  Raises: ValueError for an unknown event.
"""

from __future__ import annotations

import difflib

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.observe.events import ALL_EVENTS

EXPIRED, QUARANTINED, MISSED = "expired", "quarantined", "missed"
SPECIAL = {EXPIRED: "failed", QUARANTINED: "held"}
"""Names for a part of the events of another name."""
_QUARANTINE = "quarantine"


class Facts(msgspec.Struct, frozen=True):
    """The fields of a line that may be asked for."""

    event: str
    time: str = ""
    queue: str = ""
    id: str = ""
    about: str = ""
    into: tuple[str, ...] = ()
    channel: str = ""
    site: str = ""
    host: str = ""
    tenant: str = ""
    subject: str = ""
    reason: str = ""
    expired: bool = False


_decode = msgspec.json.Decoder(Facts).decode


def facts_of(line: bytes) -> Facts | None:
    """Return what a line says; None where it is no event."""
    try:
        return _decode(line)
    except UNDECODABLE:
        return None


class Wanted(msgspec.Struct, frozen=True):
    """What must hold of an event, all of it; what is empty asks for nothing.

    `id` is that of a message, `events` are names of events (or expired, quarantined).
    """

    id: str = ""
    events: tuple[str, ...] = ()
    queue: str = ""
    channel: str = ""
    site: str = ""
    host: str = ""
    tenant: str = ""

    @property
    def is_all(self) -> bool:
        """True where every event is wanted."""
        return self == EVERYTHING

    def needles(self) -> tuple[tuple[bytes, ...], ...]:
        """Return groups of texts: of each group one occurs in every wanted line."""
        texts = [self.id]
        for name in ("queue", "channel", "site", "host", "tenant"):
            value = getattr(self, name)
            # A queue may also be the subject of an event of the master.
            if value and name == "queue":
                texts.append(value)
            elif value:
                texts.append(f'"{name}":{msgspec.json.encode(value).decode()}')
        groups: list[tuple[bytes, ...]] = [(text.encode(),) for text in texts if text]
        names = sorted({SPECIAL.get(name, name) for name in self.events})
        if names:
            groups.append(tuple([f'"event":"{name}"'.encode() for name in names]))
        return tuple(groups)

    def has(self, facts: Facts) -> bool:
        """Say whether an event is wanted."""
        if self.id and self.id not in (facts.id, facts.about) and self.id not in facts.into:
            return False
        for name in ("channel", "site", "host", "tenant"):
            value = getattr(self, name)
            if value and getattr(facts, name) != value:
                return False
        if self.queue and self.queue not in (facts.queue, facts.subject):
            return False
        if not self.events or facts.event in self.events:
            return True
        if facts.event == "failed" and facts.expired:
            return EXPIRED in self.events
        is_quarantine = facts.event == "held" and facts.reason.startswith(_QUARANTINE)
        return is_quarantine and QUARANTINED in self.events


EVERYTHING = Wanted()


def occurs(needles: tuple[tuple[bytes, ...], ...], text: bytes) -> bool:
    """Say whether of each group of needles one is in a text."""
    for group in needles:
        for needle in group:
            if needle in text:
                break
        else:
            return False
    return True


def known_events() -> list[str]:
    """Return the names of all events, and those for a part of them."""
    return [str(kind.__struct_config__.tag) for kind in ALL_EVENTS] + list(SPECIAL)


def event_names(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of events that are known; raises ValueError that says which is not."""
    known = known_events()
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else "docs/events.md lists them"
            raise ValueError(f'there is no event "{word}"; {hint}')
    return words
