"""Check of a queue directory, and repair that never deletes mail.

Looks at everything: each message's record and checksum, the agreement of the tables, the
counts, the files. A queue may be in use while it is checked; a repair takes its lease. Of a queue
that nobody uses the checksum of each page of the control file is verified first.

What a repair does: a message whose content or recipients are damaged is held as a
quarantine, a control file with damaged pages is salvaged (spool.salvage), counts are computed
anew, files without a live record are removed, recipients without a message are dropped.

Called by: control, cli.  Raises: QueueUnusable, QueueBusy (repair), apsw.Error.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from postroom.core.errors import ContentCorrupt
from postroom.core.ids import QueueId
from postroom.spool.embedded import records
from postroom.spool.embedded.checksums import is_damage, said_of, wrong_pages
from postroom.spool.embedded.content import verify_content
from postroom.spool.embedded.disk import Disk, RealDisk, read_whole
from postroom.spool.embedded.layout import (
    QueueLayout,
    check_control_identity,
    check_queue,
    take_leases,
)
from postroom.spool.embedded.lease import Lease
from postroom.spool.embedded.reading import DAMAGED_ROW
from postroom.spool.embedded.reads import Reads
from postroom.spool.embedded.recovery import DAMAGED, find_damage, is_ours
from postroom.spool.embedded.schema import DAMAGE, connect
from postroom.spool.errors import QueueBusy
from postroom.spool.salvage import quarantine, salvage

_PAGE: Final = 1000  # messages read from the table at a time
_WRONG_RECIPIENTS = (
    "SELECT id, hold, live, total, (SELECT count(*) FROM recipient WHERE message_id = id),"
    " (SELECT count(*) FROM recipient WHERE message_id = id AND state = 0) AS waiting"
    " FROM message WHERE live <> waiting OR live = 0"
    " OR total <> (SELECT count(*) FROM recipient WHERE message_id = id)"
)
_HELD_WRONGLY = (
    "SELECT id FROM message WHERE EXISTS (SELECT 1 FROM recipient WHERE message_id = id"
    " AND state = 0 AND held <> (hold <> ''))"
)
_ORPHANS = (
    "SELECT message_id, count(*) FROM recipient"
    " WHERE NOT EXISTS (SELECT 1 FROM message WHERE id = message_id) GROUP BY message_id"
)
_TRUE_COUNTS = (
    "SELECT segment, count(*), sum(live), sum(hold <> ''), sum(size) FROM message GROUP BY segment"
)


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it should be.

    `kind` is control, content, journal, recipients, hold, orphan-recipients, counts or
    orphan-segment. `about` names a message, a file or a table.
    """

    kind: str
    about: str
    text: str
    repaired: bool = False


def check(queue_dir: Path, *, repair: bool = False, disk: Disk | None = None) -> list[Finding]:
    """Check a queue; return what was found, empty where all is well."""
    disk = disk or RealDisk()
    layout = QueueLayout.of(disk, queue_dir)
    identity = check_queue(disk, layout, None)
    lease: Lease | None = None
    try:
        lease = take_leases(disk, layout)
    except QueueBusy:
        if repair:
            raise
    control = str(layout.control)
    try:
        is_alone = lease is not None and not disk.vfs
        found = _check_pages(layout, identity, repair=repair) if is_alone else []
        if found and not found[0].repaired:
            return found
        connection = connect(disk, layout.control, alone=bool(disk.vfs))
        try:
            check_control_identity(connection, layout, identity)
            if repair:
                connection.execute("PRAGMA synchronous = FULL")
            return found + _Check(connection, layout, disk, lease is not None, repair).run()
        finally:
            connection.close(True)
    except DAMAGE as error:
        # Nothing is changed in a file whose structure is damaged: `sqlite3 .recover` is for it.
        return [Finding("control", control, str(error))]
    except apsw.IOError as error:
        if not is_damage(error):
            raise
        return [Finding("control", control, said_of(error))]
    finally:
        if lease is not None:
            lease.release()


def _check_pages(layout: QueueLayout, identity: uuid.UUID, *, repair: bool) -> list[Finding]:
    """Look at the checksums of a control file that nobody else has open."""
    control = layout.control
    wrong = wrong_pages(control)
    if not wrong:
        return []
    text = f"{wrong} of its pages are not what was written"
    if not repair:
        return [Finding("control", str(control), text)]
    try:
        doubtful = salvage(control, layout.content, identity)
    except (apsw.Error, OSError) as error:
        # It is as it was: `sqlite3 .recover` is for it.
        text += f", and it cannot be salvaged: {said_of(error)}"
        return [Finding("control", str(control), text)]
    text += f"; as it was it is kept as {control.name}{DAMAGED}"
    return [
        Finding("control", str(control), text, repaired=True),
        *(
            Finding("recipients", one, "a page that tells of it was damaged", repaired=True)
            for one in doubtful
        ),
    ]


class _Check:
    """One check of one queue; `alone` where nobody else has it open."""

    def __init__(
        self,
        connection: apsw.Connection,
        layout: QueueLayout,
        disk: Disk,
        alone: bool,
        repair: bool,
    ) -> None:
        self._connection = connection
        self._reads = Reads(connection)
        self._layout = layout
        self._disk = disk
        self._alone = alone
        self._repair = repair
        self._findings: list[Finding] = []

    def run(self) -> list[Finding]:
        """Look at everything."""
        damage = [str(row[0]) for row in self._connection.execute("PRAGMA quick_check")]
        if damage != ["ok"]:
            self._found("control", str(self._layout.control), "; ".join(damage), False)
            return self._findings
        self._connection.execute("BEGIN IMMEDIATE" if self._repair else "BEGIN")
        try:
            self._check_recipients()
            self._check_contents()
            self._check_counts()
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        if self._alone:
            self._check_journal()
            self._check_files()
        return self._findings

    def _found(self, kind: str, about: str, text: str, repaired: bool | None = None) -> None:
        done = self._repair if repaired is None else repaired
        self._findings.append(Finding(kind, about, text, done))

    def _quarantine(self, queue_id: str, reason: str) -> None:
        if self._repair:
            quarantine(self._connection, queue_id, reason)

    def _rows(self, statement: str, *values: object) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    def _check_recipients(self) -> None:
        for queue_id, hold, live, total, rows, waiting in self._rows(_WRONG_RECIPIENTS):
            text = f"{rows} recipients, {waiting} waiting, where {total} and {live} are recorded"
            harmless = hold != "" and live == waiting
            self._found("recipients", queue_id, text, self._repair or harmless)
            if self._repair:
                self._connection.execute(
                    "UPDATE message SET live = ? WHERE id = ?", (waiting, queue_id)
                )
            self._quarantine(queue_id, text)
        for (queue_id,) in self._rows(_HELD_WRONGLY):
            self._found("hold", queue_id, "its recipients are not held as the message is")
            if self._repair:
                self._connection.execute(
                    "UPDATE recipient SET held = (SELECT hold <> '' FROM message WHERE id = ?1)"
                    " WHERE message_id = ?1",
                    (queue_id,),
                )
        for queue_id, count in self._rows(_ORPHANS):
            self._found("orphan-recipients", queue_id, f"{count} recipients without a message")
            if self._repair:
                self._connection.execute("DELETE FROM recipient WHERE message_id = ?", (queue_id,))

    def _check_contents(self) -> None:
        after = ""
        while True:
            page = self._rows(
                "SELECT id, segment, place, size, hold FROM message WHERE id > ?"
                " ORDER BY id LIMIT ?",
                after,
                _PAGE,
            )
            for queue_id, segment, place, size, hold in page:
                try:
                    self._reads.get(queue_id)
                except DAMAGED_ROW as why:
                    text = f"its envelope cannot be read: {why}"
                    self._found("recipients", queue_id, text, self._repair or hold != "")
                    self._quarantine(queue_id, text)
                error = self._damage(queue_id, segment, place, size)
                if error is not None:
                    # A held message is out of the way already, whatever the reason.
                    self._found("content", queue_id, error, self._repair or hold != "")
                    self._quarantine(queue_id, error)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def _damage(self, queue_id: QueueId, segment: int, place: int, size: int) -> str | None:
        path = self._layout.content / records.segment_name(segment)
        try:
            verify_content(self._disk, path, queue_id, place, size)
        except FileNotFoundError:
            if not self._alone and self._moved(queue_id, segment):
                return None
            return f"segment {path.name} is missing"
        except ContentCorrupt as error:
            return str(error)
        return None

    def _moved(self, queue_id: str, segment: int) -> bool:
        # The transaction of this check sees the tables as they were; the store has gone on.
        with apsw.Connection(
            str(self._layout.control), flags=apsw.SQLITE_OPEN_READONLY
        ) as connection:
            now = connection.execute("SELECT segment FROM message WHERE id = ?", (queue_id,)).get
        return bool(now != segment)

    def _check_counts(self) -> None:
        true = {number: rest for number, *rest in self._rows(_TRUE_COUNTS)}
        kept = {
            number: rest
            for number, *rest in self._rows(
                "SELECT number, messages, recipients, held, octets FROM segment"
            )
        }
        for number in sorted({*true, *kept}):
            found, expected = kept.get(number, [0, 0, 0, 0]), true.get(number, [0, 0, 0, 0])
            if found != expected and not self._held_by_this_repair(found, expected):
                self._found("counts", f"segment {number}", f"{found} where {expected} is true")
            if found != expected and self._repair:
                self._connection.execute(
                    "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE"
                    " SET messages = excluded.messages, recipients = excluded.recipients,"
                    " held = excluded.held, octets = excluded.octets",
                    (number, *expected, expected[3]),
                )

    def _held_by_this_repair(self, found: list[int], expected: list[int]) -> bool:
        return bool(self._repair and self._findings) and [*found[:2], found[3]] == [
            *expected[:2],
            expected[3],
        ]

    def _check_journal(self) -> None:
        """Read what the next start will read."""
        [position] = self._rows("SELECT segment, place FROM journal")
        identity = check_queue(self._disk, self._layout, None)
        for damage in find_damage(self._disk, self._layout.content, identity, position):
            # A torn end is what a crash leaves of a group that nobody was told of.
            if not damage.is_torn:
                name = records.segment_name(damage.segment)
                text = f"{damage.octets} octets of its journal at {damage.place} cannot be read"
                self._found("journal", name, text, False)

    def _check_files(self) -> None:
        known = {row[0] for row in self._connection.execute("SELECT number FROM segment")}
        known |= {row[0] for row in self._connection.execute("SELECT segment FROM message")}
        unread = self._connection.execute("SELECT segment FROM journal").get
        identity = check_queue(self._disk, self._layout, None)
        for name in self._disk.names(self._layout.content):
            number = records.segment_number(name)
            if name.endswith(DAMAGED):
                text = "a segment whose journal was damaged; remove it once it was looked at"
                self._found("journal", name, text, False)
            if number is None or number in known:
                continue
            path = self._layout.content / name
            header = read_whole(self._disk, path, records.SEGMENT_HEADER_OCTETS)
            if number >= unread and records.is_segment_of(header, identity, number):
                continue  # the next start reads its journal
            ours = is_ours(self._disk, path, identity, number)
            text = "no live record" if ours else "no live record, and not of this queue: kept"
            self._found("orphan-segment", name, text, self._repair and ours)
            if self._repair and ours:
                self._disk.unlink(path)
