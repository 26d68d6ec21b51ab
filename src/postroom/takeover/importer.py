"""The way of messages from another system's queue into ours.

Reads entry by entry, leaves out what the record knows, cuts a message into parts where one
submission cannot carry it, hands the parts over several at a time, and notes in the record what
became durable. How a part is handed over is the caller's.

Guarantees: 1. a message is noted only after all its parts are durable. 2. A part gets the same
queue id each time, made from the source's own identity. 3. What cannot be taken over is told,
each time. After a kill at most one batch is handed over again.
Called by: cli.takeover.  Raises: OSError, NotTaken (for now, with `lasting` false).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from postroom.core.errors import PostroomError
from postroom.core.ids import QueueId, encode
from postroom.core.message import Recipient
from postroom.ingress.local_protocol import is_address
from postroom.takeover.files import Entry
from postroom.takeover.record import ImportRecord, key_of
from postroom.takeover.value import Foreign, Unreadable, reverse_path_for

BATCH_MESSAGES_MAX = 64
"""Messages between two syncs of the record, and so what a kill may hand over twice."""
BATCH_OCTETS_MAX = 32 * 1024 * 1024
TOGETHER = 8
"""Parts on their way at a time: they share commits."""
SAMPLE = 5


class NotTaken(PostroomError):
    """A queue does not take a part: for good (`lasting`), or for now."""

    def __init__(self, text: str, *, lasting: bool) -> None:
        super().__init__(text)
        self.lasting = lasting


class Part(msgspec.Struct, frozen=True):
    """What is handed over at once: a message, or some recipients of one."""

    id: QueueId
    reverse_path: str
    recipients: tuple[Recipient, ...]
    message: Foreign


class Report(msgspec.Struct):
    """What an import came to, so far."""

    files: int = 0
    messages: int = 0
    recipients: int = 0
    held: int = 0
    octets: int = 0
    recipients_done: int = 0
    already: int = 0
    finished: int = 0
    """Messages all of whose recipients were done."""
    problems: int = 0
    sample: list[Foreign] = []


class Importer:
    """One import; `known` is the record, or what stands for it in a dry run."""

    def __init__(
        self,
        system: str,
        known: Container[bytes],
        tell: Callable[[str, str], None],
        now: float,
        recipients_max: int,
    ) -> None:
        """`tell` is called with a place and why what lies there is not taken over."""
        self.report = Report()
        self._system = system
        self._known = known
        self._tell = tell
        self._now = now
        self._recipients_max = recipients_max
        self._seen: set[bytes] = set()

    def count(self, entries: Iterable[Entry]) -> Iterator[Report]:
        """Read everything and hand over nothing; give the report after each entry."""
        for entry in entries:
            found = self._read(entry)
            if found is not None:
                message = found[1]
                if len(self.report.sample) < SAMPLE:
                    slim = msgspec.structs.replace(message, content=message.content[:0])
                    self.report.sample.append(slim)
                self._count(message)
            yield self.report

    def run(
        self, entries: Iterable[Entry], record: ImportRecord, hand_over: Callable[[Part], str]
    ) -> Iterator[Report]:
        """Take everything over; give the report after each batch."""
        with ThreadPoolExecutor(TOGETHER) as pool:
            for batch in self._batches(entries):
                self._take(batch, record, hand_over, pool)
                yield self.report

    def _batches(self, entries: Iterable[Entry]) -> Iterator[list[tuple[Entry, bytes, Foreign]]]:
        batch: list[tuple[Entry, bytes, Foreign]] = []
        octets = 0
        for entry in entries:
            found = self._read(entry)
            if found is not None:
                batch.append((entry, *found))
                octets += len(found[1].content)
            if len(batch) >= BATCH_MESSAGES_MAX or octets > BATCH_OCTETS_MAX:
                yield batch
                batch, octets = [], 0
        yield batch

    def _read(self, entry: Entry) -> tuple[bytes, Foreign] | None:
        """Return key and message of an entry that is to be taken over."""
        report = self.report
        report.files += 1
        try:
            message = self._checked(entry, entry.read())
        except (Unreadable, OSError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            self._problem(entry.place, reason)
            return None
        key = key_of(self._system, message)
        if key in self._known or key in self._seen:
            report.already += 1
            return None
        report.recipients_done += message.done
        if not message.recipients:
            report.finished += not message.problems
            return None
        self._seen.add(key)
        return key, message

    def _checked(self, entry: Entry, message: Foreign) -> Foreign:
        """Return the message with what our queues can keep; tell of the rest."""
        if message.reverse_path and not is_address(message.reverse_path):
            raise Unreadable(f"the sender is no address: {message.reverse_path!r}")
        for problem in message.problems:
            self._problem(entry.place, problem)
        good = []
        for recipient in message.recipients:
            if is_address(recipient.address):
                good.append(recipient)
            else:
                self._problem(entry.place, f"a recipient is no address: {recipient.address!r}")
        doubles = {recipient.address: recipient for recipient in reversed(good)}
        return msgspec.structs.replace(
            message,
            # Nothing arrives in the future, whatever a clock said.
            arrived_at=min(message.arrived_at, self._now),
            recipients=tuple(reversed(doubles.values())),
        )

    def _take(
        self,
        batch: list[tuple[Entry, bytes, Foreign]],
        record: ImportRecord,
        hand_over: Callable[[Part], str],
        pool: ThreadPoolExecutor,
    ) -> None:
        """Hand over a batch and note what is durable; raise NotTaken where it is not now."""
        waiting = [
            (entry, key, message, [pool.submit(hand_over, part) for part in self.parts(message)])
            for entry, key, message in batch
        ]
        durable: list[tuple[bytes, tuple[str, ...]]] = []
        for_now: NotTaken | None = None
        for entry, key, message, futures in waiting:
            try:
                durable.append((key, tuple([future.result() for future in futures])))
            except NotTaken as error:
                if error.lasting:
                    self._problem(entry.place, str(error))
                else:
                    for_now = error
            else:
                self._count(message)
        if durable:
            record.add(durable)
        if for_now is not None:
            raise for_now

    def parts(self, message: Foreign) -> list[Part]:
        """Cut a message: one reverse-path, and no more recipients than are taken at once."""
        groups: dict[str, list[Recipient]] = {}
        for recipient in message.recipients:
            groups.setdefault(reverse_path_for(message, recipient), []).append(recipient)
        key = key_of(self._system, message)
        parts = []
        for reverse_path, recipients in groups.items():
            for start in range(0, len(recipients), self._recipients_max):
                some = tuple(recipients[start : start + self._recipients_max])
                first = some[0].address if message.verp else str(start)
                queue_id = queue_id_of(key, first, message.arrived_at)
                parts.append(Part(queue_id, reverse_path, some, message))
        return parts

    def _count(self, message: Foreign) -> None:
        report = self.report
        report.messages += 1
        report.recipients += len(message.recipients)
        report.held += bool(message.hold)
        report.octets += len(message.content)

    def _problem(self, place: str, reason: str) -> None:
        self.report.problems += 1
        self._tell(place, reason)


def queue_id_of(key: bytes, part: str, arrived_at: float) -> QueueId:
    """Return the queue id of a part: its time of arrival, and 38 bits of its identity."""
    digest = hashlib.sha256(key + part.encode("utf-8", "surrogateescape")).digest()
    number = int.from_bytes(digest[:8], "big")
    return encode(int(arrived_at * 1000), number >> 40, number & 0x3FFF)
