"""Exim's spool files: -H with envelope and header, -D with the body, -J with who is done.

The -H file is lines: its own name, the caller, the sender, the time, options that begin with a
hyphen, a tree of addresses that are done, the recipients, and, after an empty line, the header
fields, each behind its length and a letter. A recipient line may end in data about DSN, which
is read from the right, for an address may hold spaces. The journal (-J) has one address a line; it
is there only where a delivery was interrupted.

Pure: octets in, a value out.
Called by: takeover.source.  Raises: Unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Callable

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

_VARIABLE = re.compile(rb"--?acl(?:[cm] \S+| \d+) (\d{1,9})")
_ONE_TIME = re.compile(rb" ?(\d{1,6}),(-?\d{1,9})\Z")
_FIELD = re.compile(rb"(\d{1,9})([^\n]) ")
# The bits of a recipient's DSN flags: 1 means that DSN ends here.
_NOTIFY = ((2, Notify.NEVER), (4, Notify.SUCCESS), (8, Notify.FAILURE), (16, Notify.DELAY))


class _Lines:
    """The octets of a file, taken line by line."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.place = 0

    def next(self) -> bytes:
        """Return the next line without its end."""
        end = self.octets.find(b"\n", self.place)
        if end < 0:
            raise Unreadable(f"cut short at octet {self.place}")
        line, self.place = self.octets[self.place : end], end + 1
        return line

    def take(self, count: int) -> bytes:
        """Return the next octets, so many."""
        if count > len(self.octets) - self.place:
            raise Unreadable(f"cut short at octet {self.place}")
        start, self.place = self.place, self.place + count
        return self.octets[start : self.place]


def parse(head: bytes, data: bytes, journal: bytes, name: str) -> Foreign:
    """Return the message of a -H file, its -D file, and its -J file (b"" where there is none)."""
    lines = _Lines(head)
    if lines.next() != f"{name}-H".encode():
        raise Unreadable("the first line is not the file's name")
    lines.next()
    reverse_path = path_of(lines.next(), "the sender")
    arrived_at = seconds_of(lines.next().partition(b" ")[0], "the arrival")
    options, line = _options(lines)
    done = _tree(lines, line)
    done.update(journal.split(b"\n"))
    recipients, count = _recipients(lines, done)
    if lines.next():
        raise Unreadable("no empty line before the header")
    fields = _fields(lines)
    first = f"{name}-D\n".encode()
    if not data.startswith(first):
        raise Unreadable("the first line of the -D file is not its name")
    micro = options.get(b"received_time_usec", b"").lstrip(b".")
    return Foreign(
        name=name,
        arrived_at=arrived_at + (int(micro) / 1e6 if re.fullmatch(rb"\d{1,6}", micro) else 0.0),
        reverse_path=reverse_path,
        recipients=recipients,
        content=with_crlf(fields + b"\n" + data[len(first) :]),
        done=count - len(recipients),
        ret={b"1": "FULL", b"2": "HDRS"}.get(options.get(b"dsn_ret", b""), ""),
        envid=_decoded(decode_xtext, options.get(b"dsn_envid", b""), "ENVID"),
        hold="frozen in Exim" if b"frozen" in options else "",
    )


def _options(lines: _Lines) -> tuple[dict[bytes, bytes], bytes]:
    """Return the options by name, and the line after them."""
    options: dict[bytes, bytes] = {}
    while True:
        line = lines.next()
        if not line.startswith(b"-"):
            return options, line
        variable = _VARIABLE.fullmatch(line)
        if variable is not None:
            # The value of a variable may hold newlines, and one stands behind it.
            lines.take(int(variable[1]) + 1)
            continue
        # Two hyphens mark what came from outside.
        name, _, value = line.lstrip(b"-").partition(b" ")
        options[name] = value


def _tree(lines: _Lines, line: bytes) -> set[bytes]:
    """Return the addresses that are done: a binary tree in pre-order, or XX for none."""
    done: set[bytes] = set()
    if line == b"XX":
        return done
    # Each line says which of its two branches (left, right) follow, then its address.
    open_branches = 1
    while True:
        if not re.match(rb"[YN][YN] ", line):
            raise Unreadable(f"no tree of addresses: {line[:40]!r}")
        done.add(line[3:])
        open_branches += line[:2].count(b"Y") - 1
        if open_branches == 0:
            return done
        line = lines.next()


def _recipients(lines: _Lines, done: set[bytes]) -> tuple[tuple[Recipient, ...], int]:
    """Return the recipients that are not done, and how many there were."""
    line = lines.next()
    if not re.fullmatch(rb"\d{1,7}", line) or int(line) > RECIPIENTS_MAX:
        raise Unreadable(f"no count of recipients: {line[:40]!r}")
    known = set(map(_folded, done))
    left: list[Recipient] = []
    count = int(line)
    for _ in range(count):
        address, flags, orcpt = _divided(lines.next())
        if _folded(address) in known:
            continue
        notify = 0
        for bit, meaning in _NOTIFY:
            notify |= int(meaning) if flags & bit else 0
        if notify & Notify.NEVER:
            notify = int(Notify.NEVER)
        text = _decoded(decode_orcpt, orcpt, "ORCPT")
        left.append(Recipient(path_of(address, "a recipient"), notify, text))
    return tuple(left), count


def _divided(line: bytes) -> tuple[bytes, int, bytes]:
    """Return address, DSN flags and ORCPT of a recipient line, of any age of Exim."""
    current = re.search(rb" ([^\n]*)#(\d{1,3})\Z", line)
    if current is None:
        # Older: the address, and numbers that say nothing of use.
        return re.sub(rb" -?\d+(,-?\d+)*\Z", b"", line), 0, b""
    kinds, rest = int(current[2]), line[: current.start(2) - 1]
    flags, orcpt = 0, b""
    if kinds & 1:
        # The address that errors go to, and a parent number; its length stands before the comma.
        rest, _, _ = _without_numbers(rest)
    if kinds & 2:
        rest, orcpt, flags = _without_numbers(rest)
    return rest.rstrip(b" "), flags, orcpt


def _without_numbers(rest: bytes) -> tuple[bytes, bytes, int]:
    """Cut "text length,number" off the right end; return what is left, text and number."""
    found = _ONE_TIME.search(rest)
    if found is None:
        raise Unreadable(f"no data of a recipient: {rest[-60:]!r}")
    length, end = int(found[1]), found.start()
    if length > end:
        raise Unreadable(f"no data of a recipient: {rest[-60:]!r}")
    return rest[: end - length].rstrip(b" "), rest[end - length : end], int(found[2])


def _fields(lines: _Lines) -> bytes:
    """Return the header fields that are sent on: all but those marked as replaced."""
    pieces: list[bytes] = []
    while lines.place < len(lines.octets):
        mark = _FIELD.match(lines.octets, lines.place)
        if mark is None:
            raise Unreadable(f"no header field at octet {lines.place}")
        lines.place = mark.end()
        text = lines.take(int(mark[1]))
        if mark[2] != b"*":
            pieces.append(text if text.endswith(b"\n") else text + b"\n")
    return b"".join(pieces)


def _folded(address: bytes) -> bytes:
    """Return an address as Exim compares it: the domain without case."""
    local, at, domain = address.rpartition(b"@")
    return local + at + domain.lower()


def _decoded(decode: Callable[[str], str], octets: bytes, what: str) -> str:
    """Return a DSN parameter, which Exim keeps as xtext."""
    text = text_of(octets, what)
    if not text:
        return ""
    try:
        return decode(text)
    except ValueError:
        return text
