"""Postfix's queue files: records of a type, a length and octets.

A file is an envelope (up to record M), content (up to X) and recipients that Postfix found in
the header (up to E). The length of a record is written in groups of seven bits, the least
significant first. A recipient that is done has its type changed in place, from R to D. Content
filters edit by pointers: a record p says where reading goes on, unless it says 0.

Pure: octets in, a value out.
Called by: takeover.source.  Raises: Unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from postroom.core.message import Notify, Recipient
from postroom.takeover.value import (
    RECIPIENTS_MAX,
    Foreign,
    Unreadable,
    path_of,
    seconds_of,
    text_of,
    with_crlf,
)

_LENGTH_GROUPS_MAX = 5
_JUMPS_MAX = 100_000
"""Pointers followed in one file."""
_KNOWN = frozenset(b"CcTFILSDROWAVMNXrePEfp>$wi")


class _Envelope:
    """What the records read so far came to."""

    def __init__(self) -> None:
        self.arrived_at: float | None = None
        self.created_at: float | None = None
        self.reverse_path: str | None = None
        self.recipients: list[Recipient] = []
        self.done = 0
        self.ret = ""
        self.envid = ""
        self.verp = ""
        self.redirect = ""
        self.attributes: dict[bytes, bytes] = {}
        """Those of the recipient that comes next."""


def parse(octets: bytes, name: str, *, hold: str = "") -> Foreign:
    """Return the message of a queue file."""
    envelope = _Envelope()
    pieces: list[bytes] = []
    part = "envelope"
    for kind, value in _records(octets):
        if kind == b"M":
            part = "content"
        elif kind == b"X":
            part = "extracted"
        elif kind == b"E":
            part = "end"
            break
        elif part == "content" and kind in b"NL":
            # N is a line, L the beginning of one that is longer than a record.
            pieces += (value, b"\n") if kind == b"N" else (value,)
        elif part != "content":
            _note(envelope, kind, value)
    if part != "end":
        raise Unreadable("not finished: the last record is missing")
    if envelope.reverse_path is None:
        raise Unreadable("no sender record")
    if envelope.redirect:
        # A header check or a filter said that the mail goes there and to nobody else.
        envelope.recipients = [Recipient(envelope.redirect)]
    arrived_at = envelope.arrived_at if envelope.arrived_at is not None else envelope.created_at
    return Foreign(
        name=name,
        arrived_at=arrived_at or 0.0,
        reverse_path=envelope.reverse_path,
        recipients=tuple(envelope.recipients),
        content=with_crlf(b"".join(pieces)),
        done=envelope.done,
        ret=envelope.ret,
        envid=envelope.envid,
        hold=hold,
        verp=envelope.verp,
    )


def _records(octets: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give (type, octets) of each record, in the order in which pointers lead."""
    place, end, jumps = 0, len(octets), set[int]()
    while place < end:
        kind = octets[place : place + 1]
        if octets[place] not in _KNOWN:
            raise Unreadable(f"no record of Postfix at octet {place}")
        length, groups = 0, 0
        place += 1
        while True:
            if place >= end or groups == _LENGTH_GROUPS_MAX:
                raise Unreadable(f"cut short at octet {place}")
            group = octets[place]
            length |= (group & 0x7F) << (7 * groups)
            place, groups = place + 1, groups + 1
            if not group & 0x80:
                break
        if length > end - place:
            raise Unreadable(f"cut short: a record at octet {place} has {length} octets")
        value = octets[place : place + length]
        place += length
        if kind == b"p":
            target = _number(value, "a pointer")
            if target > end:
                raise Unreadable(f"a pointer leads out of the file, to octet {target}")
            if target:
                # What was followed once leads to the same place again.
                if place in jumps or len(jumps) == _JUMPS_MAX:
                    raise Unreadable("pointers lead in a circle")
                jumps.add(place)
                place = target
            continue
        yield kind, value


def _note(envelope: _Envelope, kind: bytes, value: bytes) -> None:
    """Take a record of the envelope; what is not of use to us is passed over."""
    match kind:
        case b"T":
            envelope.arrived_at = _time(value)
        case b"S":
            envelope.reverse_path = path_of(value, "the sender")
        case b"R":
            _add_recipient(envelope, value)
        case b"D" | b"$":
            # Done, or taken away by a filter, which is as if it had never been there.
            envelope.done += kind == b"D"
            envelope.attributes.clear()
        case b"O":
            envelope.attributes.setdefault(b"original", value)
        case b"V":
            if len(value) == 2 and value.isascii():
                envelope.verp = text_of(value, "VERP")
        case b">":
            envelope.redirect = path_of(value, "the redirection")
        case b"A":
            name, _, said = value.partition(b"=")
            _attribute(envelope, name, said)


def _attribute(envelope: _Envelope, name: bytes, said: bytes) -> None:
    match name:
        case b"create_time":
            envelope.created_at = _time(said)
        case b"envelope_id":
            envelope.envid = text_of(said, "ENVID")
        case b"ret_flags":
            envelope.ret = {b"1": "FULL", b"2": "HDRS"}.get(said, "")
        case b"notify_flags" | b"dsn_orig_rcpt":
            envelope.attributes[name] = said


def _add_recipient(envelope: _Envelope, value: bytes) -> None:
    attributes, flags = envelope.attributes, 0
    if b"notify_flags" in attributes:
        # The same bits as in core.message.Notify.
        flags = _number(attributes[b"notify_flags"], "NOTIFY") & 0xF
        if flags & Notify.NEVER:
            flags = int(Notify.NEVER)
    orcpt = text_of(attributes.get(b"dsn_orig_rcpt", b""), "ORCPT")
    if len(envelope.recipients) == RECIPIENTS_MAX:
        raise Unreadable(f"more than {RECIPIENTS_MAX} recipients")
    envelope.recipients.append(Recipient(path_of(value, "a recipient"), flags, orcpt))
    attributes.clear()


def _time(value: bytes) -> float:
    """Return a time that is written as seconds, and microseconds where Postfix is not old."""
    seconds, _, micro = value.strip().partition(b" ")
    return seconds_of(seconds, "the arrival") + _number(micro or b"0", "the arrival") / 1e6


def _number(value: bytes, what: str) -> int:
    if not re.fullmatch(rb"\s*\d{1,15}\s*", value):
        raise Unreadable(f"{what} is no number: {value[:40]!r}")
    return int(value)
