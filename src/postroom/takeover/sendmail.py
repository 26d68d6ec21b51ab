"""Sendmail's queue files: qf with envelope and header, df with the body.

A qf file is lines, each with a letter in front; lines that begin with white space go on with
the one before. Recipients that are done are no longer in it. Quarantined messages have the
letter h instead of q in their name and a reason. A header field may have a condition between
question marks: it is sent only by mailers with one of these flags.

Pure: octets in, a value out.
Called by: takeover.source.  Raises: Unreadable.
"""

from __future__ import annotations

import re

from postroom.core.message import Notify, Recipient
from postroom.smtp.xtext import decode_orcpt, decode_xtext
from postroom.takeover.value import (
    RECIPIENTS_MAX,
    Foreign,
    Unreadable,
    path_of,
    seconds_of,
    text_of,
    with_crlf,
)

_CONDITION = re.compile(rb"\?([^?\n]*)\?")
_MAILER_FLAGS = frozenset(b"DFMa")
"""The conditional fields that a mailer for SMTP sends: Date, From and Message-ID; no more
(Return-Path and Full-Name are for local delivery)."""
_KNOWN = frozenset(b"ABCDdEFHIKMNPQRrSTVZ$!.qGoWY")
_NOTIFY = {b"S": Notify.SUCCESS, b"F": Notify.FAILURE, b"D": Notify.DELAY}


class _Control:
    """What the lines read so far came to."""

    def __init__(self, hold: str) -> None:
        self.arrived_at: float | None = None
        self.reverse_path: str | None = None
        self.flags = b""
        self.envid = ""
        self.hold = hold
        self.orcpt = b""
        self.recipients: list[Recipient] = []
        self.fields: list[bytes] = []

    def note(self, letter: bytes, value: bytes) -> None:
        """Take a line."""
        match letter:
            case b"T":
                self.arrived_at = seconds_of(value, "the arrival")
            case b"S":
                self.reverse_path = path_of(value, "the sender")
            case b"F":
                self.flags = value
            case b"Z":
                self.envid = _envid(value)
            case b"q":
                self.hold = f"{self.hold or 'quarantined'}: {text_of(value, 'the reason')}"
            case b"Q":
                self.orcpt = value
            case b"R":
                if len(self.recipients) == RECIPIENTS_MAX:
                    raise Unreadable(f"more than {RECIPIENTS_MAX} recipients")
                self.recipients.append(_recipient(value, self.orcpt))
                self.orcpt = b""
            case b"H":
                self.fields.append(value)


def parse(octets: bytes, body: bytes, name: str, *, hold: str = "") -> Foreign:
    """Return the message of a control file and its data file."""
    control, ended = _Control(hold), False
    for line in _folded_lines(octets):
        if ended or line[0] not in _KNOWN:
            raise Unreadable(f"no line of a control file: {line[:40]!r}")
        ended = line[:1] == b"."
        control.note(line[:1], line[1:])
    if not ended:
        raise Unreadable("not finished: the line with a dot is missing")
    if control.reverse_path is None or control.arrived_at is None:
        raise Unreadable("no line for the sender, or for the time")
    flags = control.flags
    header = b"".join(_field(one, without_bcc=b"b" in flags) for one in control.fields)
    return Foreign(
        name=name,
        arrived_at=control.arrived_at,
        reverse_path=control.reverse_path,
        recipients=tuple(control.recipients),
        content=with_crlf(header + b"\n" + body),
        ret=("HDRS" if b"n" in flags else "FULL") if b"d" in flags else "",
        envid=control.envid,
        hold=control.hold,
    )


def _folded_lines(octets: bytes) -> list[bytes]:
    """Return the lines, each with those that go on with it."""
    lines: list[bytes] = []
    for line in octets.split(b"\n")[: None if not octets.endswith(b"\n") else -1]:
        if line[:1] in (b" ", b"\t") and lines:
            lines[-1] += b"\n" + line
        elif line:
            lines.append(line)
    return lines


def _recipient(value: bytes, orcpt: bytes) -> Recipient:
    """Return a recipient: flags and a colon stand before its address."""
    flags, colon, address = value.partition(b":")
    if not colon or not re.fullmatch(rb"[A-Za-z]*", flags):
        flags, address = b"", value
    notify = 0
    # Without N the sender asked for nothing, and the other flags are the default.
    if b"N" in flags:
        for letter, meaning in _NOTIFY.items():
            notify |= int(meaning) if letter in flags else 0
        notify = notify or int(Notify.NEVER)
    text = text_of(orcpt, "ORCPT")
    try:
        text = decode_orcpt(text) if text else ""
    except ValueError:
        text = ""
    return Recipient(path_of(address, "a recipient"), notify, text)


def _envid(value: bytes) -> str:
    text = text_of(value, "ENVID")
    try:
        return decode_xtext(text)
    except ValueError:
        return text


def _field(value: bytes, *, without_bcc: bool) -> bytes:
    """Return a header field with its newline, or b"" where it is not sent."""
    condition = _CONDITION.match(value)
    if condition is not None:
        value = value[condition.end() :]
        if condition[1] and _MAILER_FLAGS.isdisjoint(condition[1]):
            return b""
    if without_bcc and re.match(rb"(?i)(resent-)?bcc[ \t]*:", value):
        return b""
    return value + b"\n"
