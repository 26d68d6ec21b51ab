"""Compaction: copies the live messages out of mostly dead segments.

Owns the segment being emptied and which of its records are still to be looked at. Works in
small steps between groups, so that no commit waits long. A step copies records to the
current segment, syncs them, and points the rows there in one commit; the emptied segment
then goes the way of any other.

Guarantees: every message is readable exactly once, whenever a crash comes.
Called by: spool.embedded.writer, between groups.  Raises: nothing for what disks do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from postroom.core.errors import StoreFull
from postroom.core.ids import QueueId
from postroom.spool.embedded import records
from postroom.spool.embedded.commit_result import CommitResult, reply_error
from postroom.spool.embedded.committer import Committer
from postroom.spool.embedded.disk import Disk
from postroom.spool.embedded.records import (
    GROUP_HEADER_OCTETS,
    RECORD_HEADER_OCTETS,
    SEGMENT_HEADER_OCTETS,
)

STEP_OCTETS: Final = 2 * 1024 * 1024  # copied per step: some milliseconds
STEP_RECORDS: Final = 2000  # looked at per step, for segments of small messages


ROOM_OCTETS_MIN: Final = 256 * 1024
"""Dead octets for which the current segment is closed early, where the disk is short."""


class Compactor:
    """Empties one segment after the other."""

    def __init__(self, committer: Committer, disk: Disk, directory: Path, below: float) -> None:
        self._committer = committer
        self._disk = disk
        self._directory = directory
        self._below = below
        self._victim: int | None = None
        self._place = 0
        self._given_up: set[int] = set()
        self._without_room: set[int] = set()
        """Segments whose copies found no room; tried again when room is asked for."""

    def has_work(self) -> bool:
        """Say whether a segment is to be compacted."""
        # Where the control file failed, the next group opens it again first.
        return self._committer.is_usable and self._choose() is not None

    def _choose(self) -> int | None:
        committer = self._committer
        lines = committer.tables.ledger.lines
        if self._victim in lines:
            return self._victim
        for number, line in lines.items():
            if (
                number < committer.position[0]
                and number != committer.current
                and number not in self._given_up
                and number not in self._without_room
                and line.octets < self._below * (line.total_octets - SEGMENT_HEADER_OCTETS)
            ):
                self._victim, self._place = number, SEGMENT_HEADER_OCTETS
                return number
        return None

    def step(self) -> CommitResult | None:
        """Copy some live messages; None where there is nothing to do."""
        number = self._choose()
        if number is None:
            return None
        committer = self._committer
        result = CommitResult(committer.counts)
        try:
            copied = self._read_some(number)
            if copied:
                self._copy(number, copied, result)
        except (apsw.Error, OSError) as error:
            result.control_error = reply_error(error)
        if isinstance(result.control_error, StoreFull):
            self._without_room.add(number)
            self._victim = None
        elif result.control_error is not None:
            self._leave(number)
        committer.note(result)
        return result

    def make_room(self, result: CommitResult) -> None:
        """Close the current segment where it is mostly dead, so that it may go, and empty the WAL.

        New mail is refused where the disk is full, so the segment would never reach the size
        at which it is closed, and its dead octets would keep the disk full for ever.
        """
        committer = self._committer
        committer.flush(result)  # then the ledger knows what of the segment is alive
        segments = committer.segments
        line = committer.tables.ledger.lines.get(segments.number)
        live = line.octets if line is not None else 0
        dead = segments.size_octets - live
        if (
            segments.is_open
            and result.control_error is None
            and dead >= ROOM_OCTETS_MIN
            and live < self._below * segments.size_octets
        ):
            segments.leave()
            committer.flush(result)
        if committer.is_usable and result.control_error is None:
            committer.give_wal_back(result)
        self._without_room.clear()

    def _leave(self, number: int) -> None:
        # Damaged, or the disk fails: keep the segment as it is until the next start.
        self._given_up.add(number)
        self._victim = None

    def _read_some(self, number: int) -> list[tuple[QueueId, bytes]]:
        """Walk over record headers; return the live records met, whole."""
        file = self._disk.open(self._directory / records.segment_name(number))
        try:
            found: dict[QueueId, list[tuple[int, int, int]]] = {}
            octets = 0
            for _ in range(STEP_RECORDS):
                octets_here = file.read_at(self._place, RECORD_HEADER_OCTETS)
                changes = records.group_length(octets_here)
                if changes is not None:
                    self._place += GROUP_HEADER_OCTETS + changes
                    continue
                header = records.unpack_record_header(octets_here)
                if header is None:
                    # The end, or a torn record; live ones that are left are damaged.
                    self._leave(number)
                    break
                queue_id, size, checksum = header
                found.setdefault(queue_id, []).append((self._place, size, checksum))
                self._place += RECORD_HEADER_OCTETS + size
                octets += size
                if octets >= STEP_OCTETS:
                    break
            live = []
            for queue_id, place, size in self._committer.tables.control.places(list(found), number):
                for at, length, checksum in found[queue_id]:
                    if at == place and length == size:
                        content = file.read_at(at + RECORD_HEADER_OCTETS, size)
                        if records.checksum(queue_id, size, (content,)) == checksum:
                            live.append((queue_id, content))
            return live
        finally:
            file.close()

    def _copy(self, number: int, copied: list[tuple[QueueId, bytes]], result: CommitResult) -> None:
        committer = self._committer
        places = committer.journal.copy(
            [(queue_id, len(content), (content,)) for queue_id, content in copied]
        )
        target = committer.segments.number

        def write() -> None:
            moved = [
                (queue_id, target, place)
                for (queue_id, _), place in zip(copied, places, strict=True)
            ]
            control, ledger = committer.tables.control, committer.tables.ledger
            old, new = ledger.change(number), ledger.change(target)
            for facts in control.facts([row[0] for row in moved]):
                for line, sign in ((old, -1), (new, 1)):
                    line.messages += sign
                    line.octets += sign * facts.size_octets
                    line.recipients += sign * facts.live_count
                    line.held += sign * facts.held
            control.move(moved)

        if committer.transact(write, result):
            committer.release(result)
