"""Remote SMTP hosts for the simulator, and the record of what they took.

A host decides by chance, with the probabilities of its mood, and writes down what it did at
the moment it did it: so the record is the truth about who took responsibility for what,
whatever its reply went through on the way.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

_PATH = re.compile(rb"<([^>]*)>")


@dataclass
class Mood:
    """Probabilities of what a host does; all zero is a good host."""

    refuse: float = 0.0
    silent: float = 0.0
    busy_greeting: float = 0.0
    drop: float = 0.0
    mail_transient: float = 0.0
    rcpt_transient: float = 0.0
    rcpt_permanent: float = 0.0
    data_transient: float = 0.0
    data_permanent: float = 0.0
    take_and_vanish: float = 0.0
    hang: float = 0.0
    latency_s: float = 0.01
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SIZE 10000000", "DSN", "SMTPUTF8")


Place = tuple[int, str]
"""A generation of our worker, and a site. What a dead worker began is none of the next one's."""

EVERYWHERE = ""
"""Stands for all sites together."""


@dataclass
class Record:
    """What all hosts did. Every recipient address belongs to one message only."""

    taken: list[str] = field(default_factory=list)
    vanished: int = 0
    """How many of `taken` were taken by a host that then said nothing."""
    refused: set[str] = field(default_factory=set)
    contents: dict[str, bytes] = field(default_factory=dict)
    reports: list[bytes] = field(default_factory=list)
    busy: Counter[Place] = field(default_factory=Counter)
    """Transactions now."""
    peak: Counter[Place] = field(default_factory=Counter)
    """The most transactions at any moment."""

    def begin(self, generation: int, host: str) -> None:
        """Count a transaction that a worker begins at a host."""
        for place in _places(generation, host):
            self.busy[place] += 1
            self.peak[place] = max(self.peak[place], self.busy[place])

    def end(self, generation: int, host: str) -> None:
        """Count its end."""
        for place in _places(generation, host):
            self.busy[place] -= 1


def _places(generation: int, host: str) -> tuple[Place, Place]:
    return (generation, host.partition(".")[2]), (generation, EVERYWHERE)


class RemoteHost:
    """One host."""

    def __init__(self, name: str, chance: random.Random, record: Record) -> None:
        self.name = name
        self.chance = chance
        self.record = record
        self.mood = Mood()
        self.connections = 0

    def latency(self) -> float:
        """Return how long something takes to arrive."""
        return self.mood.latency_s * (0.5 + self.chance.random())

    def connects(self) -> str:
        """Say what becomes of a connection."""
        self.connections += 1
        throw = self.chance.random()
        if throw < self.mood.refuse:
            return "refused"
        return "silent" if throw < self.mood.refuse + self.mood.silent else "taken"

    def accept(
        self, generation: int, source: str, answer: Callable[[bytes], None],
        hang_up: Callable[[], None],
    ) -> RemoteSession:  # fmt: skip
        """Begin a session with a worker of ours, that comes from `source` ("": any address)."""
        return RemoteSession(self, generation, answer, hang_up)

    def happens(self, probability: float) -> bool:
        """Throw the dice."""
        return probability > 0 and self.chance.random() < probability


class RemoteSession:
    """One session of one host."""

    def __init__(
        self,
        host: RemoteHost,
        generation: int,
        answer: Callable[[bytes], None],
        hang_up: Callable[[], None],
    ) -> None:
        self._host = host
        self._generation = generation
        self._answer = answer
        self._end = hang_up
        self._buffer = bytearray()
        self._reading_data = False
        self._chunk_left: int | None = None
        self._chunk_last = False
        self._content = bytearray()
        self._recipients: list[str] = []
        self._reverse_path: str | None = None
        self._open = True
        self._is_counted = False

    def greet(self) -> None:
        """Say hello, or not."""
        if self._host.happens(self._host.mood.drop):
            self._drop()
        elif self._host.happens(self._host.mood.busy_greeting):
            self._say("421 4.3.2 too busy")
            self._drop()
        else:
            self._say(f"220 {self._host.name} ESMTP")

    def receive(self, data: bytes) -> None:
        """Take in octets."""
        self._buffer += data
        while self._open:
            if self._chunk_left is not None:
                if not self._take_chunk():
                    return
            elif self._reading_data:
                if not self._take_data():
                    return
            else:
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    return
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                self._command(line)

    def closed(self) -> None:
        """The connection is gone, also where the host had long been silent."""
        self._open = False
        self._end_transaction()

    def _say(self, line: str) -> None:
        self._answer(line.encode() + b"\r\n")

    def _drop(self) -> None:
        self._open = False
        self._end_transaction()
        self._end()

    def _command(self, line: bytes) -> None:
        mood, happens = self._host.mood, self._host.happens
        if happens(mood.drop):
            self._drop()
            return
        if happens(mood.hang):
            self._open = False  # Says nothing ever again, but keeps the connection.
            return
        word = line[:4].upper()
        if word in (b"EHLO", b"HELO"):
            lines = [self._host.name, *(mood.extensions if word == b"EHLO" else ())]
            for number, text in enumerate(lines):
                self._say(f"250{' ' if number == len(lines) - 1 else '-'}{text}")
        elif word == b"MAIL":
            self._end_transaction()
            if happens(mood.mail_transient):
                self._say("451 4.3.0 not now")
                return
            match = _PATH.search(line)
            assert match is not None, line
            self._reverse_path = match[1].decode()
            self._begin_transaction()
            self._say("250 2.1.0 ok")
        elif word == b"RCPT":
            self._rcpt(line)
        elif word == b"DATA":
            if not self._recipients:
                self._say("554 5.5.1 no valid recipients")
            else:
                self._reading_data = True
                self._say("354 go on")
        elif word == b"BDAT":
            parts = line.split()
            self._chunk_left = int(parts[1])
            self._chunk_last = len(parts) > 2
        elif word == b"RSET":
            self._end_transaction()
            self._say("250 2.0.0 ok")
        elif word == b"QUIT":
            self._say("221 2.0.0 bye")
            self._drop()
        else:
            self._say("500 5.5.1 what?")

    def _rcpt(self, line: bytes) -> None:
        mood, happens = self._host.mood, self._host.happens
        match = _PATH.search(line)
        assert match is not None, line
        recipient = match[1].decode()
        if self._reverse_path is None:
            self._say("503 5.5.1 MAIL first")
        elif happens(mood.rcpt_transient):
            self._say("450 4.2.1 mailbox busy")
            self._may_be_over()
        elif happens(mood.rcpt_permanent):
            self._host.record.refused.add(recipient)
            self._say("550 5.1.1 no such user")
            self._may_be_over()
        else:
            self._recipients.append(recipient)
            self._begin_transaction()
            self._say("250 2.1.5 ok")

    def _take_chunk(self) -> bool:
        assert self._chunk_left is not None
        take = min(self._chunk_left, len(self._buffer))
        self._content += self._buffer[:take]
        del self._buffer[:take]
        self._chunk_left -= take
        if self._chunk_left:
            return False
        self._chunk_left = None
        if self._chunk_last:
            self._finish()
        else:
            self._say("250 2.0.0 chunk")
        return True

    def _take_data(self) -> bool:
        if self._buffer.startswith(b".\r\n"):
            end, length = 0, 3
        else:
            end, length = self._buffer.find(b"\r\n.\r\n"), 5
            if end < 0:
                return False
        stuffed = bytes(self._buffer[: end + 2]) if length == 5 else b""
        del self._buffer[: end + length]
        self._content += (b"\r\n" + stuffed).replace(b"\r\n..", b"\r\n.")[2:]
        self._reading_data = False
        self._finish()
        return True

    def _finish(self) -> None:
        mood, happens = self._host.mood, self._host.happens
        record, content = self._host.record, bytes(self._content)
        if not self._recipients:
            self._say("554 5.5.1 no valid recipients")
        elif happens(mood.data_transient):
            self._say("451 4.3.0 try again")
        elif happens(mood.data_permanent):
            record.refused.update(self._recipients)
            self._say("554 5.6.0 not wanted")
        else:
            if self._reverse_path == "":
                record.reports.append(content)
            else:
                record.taken += self._recipients
                record.contents.update(dict.fromkeys(self._recipients, content))
            if happens(mood.take_and_vanish):
                record.vanished += len(self._recipients)
                self._drop()
                return
            self._say("250 2.0.0 taken")
        self._end_transaction()

    def _begin_transaction(self) -> None:
        if not self._is_counted:
            self._is_counted = True
            self._host.record.begin(self._generation, self._host.name)

    def _may_be_over(self) -> None:
        # Where nobody is accepted the client gives up, and says RSET only before its next
        # message: until then the connection is idle.
        if not self._recipients:
            self._uncount()

    def _uncount(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._host.record.end(self._generation, self._host.name)

    def _end_transaction(self) -> None:
        self._uncount()
        self._reverse_path = None
        self._recipients = []
        self._content = bytearray()
        self._reading_data = False
        self._chunk_left = None
