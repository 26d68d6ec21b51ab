"""Where Mailman 3's files lie: the queues that hold outbound mail, and the database of lists.

`out` waits to be sent, `retry` was deferred. `.pck` is whole, `.bak` is what a runner was at
when it ended (Mailman takes it up again as `.pck`, and so repeats what it had sent of it), `.tmp`
was not finished. Mail in other queues is not outbound yet, was set aside, or never goes out: of the
first two one line for each queue tells, the last (archive, bounces, nntp) is passed over.

Guarantees: nothing is changed; the database is opened for reading only.
Called by: takeover.source.  Raises: NoQueue, OSError; Unreadable from `Entry.read`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from postroom.takeover import mailman
from postroom.takeover.files import Entry, NoQueue, read_octets, refusing
from postroom.takeover.mailman import MailingList
from postroom.takeover.value import Foreign

OUTBOUND = ("out", "retry")
WHOLE = (".pck", ".bak")
UNFINISHED = (
    "Mailman must process it itself, and before you import: started later, it sends again what "
    "was imported from out and retry"
)
GIVEN_UP = "set aside by Mailman after an error, mail on its way out perhaps among it"
OTHERS = {
    "in": UNFINISHED,
    "pipeline": UNFINISHED,
    "virgin": UNFINISHED,
    "digest": UNFINISHED,
    "command": UNFINISHED,
    "shunt": f"{GIVEN_UP} ('mailman unshunt' puts it back)",
    "bad": GIVEN_UP,
}
"""Queues whose mail, or the answer to it, may be meant for `out`, and why it is left behind."""
DATABASE_WAIT_S = 1.0


def walk(directory: Path) -> Iterator[Entry]:
    """Give the entries of Mailman's queue_dir, or of its var_dir, which holds `queue`."""
    queues = directory / "queue" if (directory / "queue" / "out").is_dir() else directory
    if not (queues / "out").is_dir():
        raise NoQueue(f"{directory} has no out: is it Mailman's queue_dir?")
    lists = lists_beside(queues)
    for queue in OUTBOUND:
        for path in _files(queues / queue):
            place = str(path.relative_to(directory))
            if path.suffix in WHOLE:
                yield Entry(place, _reader(path, lists))
            else:
                yield refusing(place, "not finished: Mailman had not queued it")
    for queue, reason in OTHERS.items():
        # One line for each: such a queue may hold thousands, all for the same reason.
        count = sum(path.suffix in (*WHOLE, ".psv") for path in _files(queues / queue))
        if count:
            files = "1 file" if count == 1 else f"{count} files"
            yield refusing(str((queues / queue).relative_to(directory)), f"{files}: {reason}")


def _files(queue: Path) -> list[Path]:
    return sorted(queue.iterdir()) if queue.is_dir() else []


def _reader(path: Path, lists: Mapping[str, MailingList] | None) -> Callable[[], Foreign]:
    def read() -> Foreign:
        return mailman.parse(read_octets(path), path.stem, lists)

    return read


def lists_beside(queues: Path) -> dict[str, MailingList] | None:
    """Return the lists by their ids; None where Mailman keeps its database elsewhere."""
    path = queues.resolve().parent / "data" / "mailman.db"
    if not path.is_file():
        return None
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=DATABASE_WAIT_S)
        ) as database:
            rows = database.execute(
                "SELECT list_id, list_name, mail_host, personalize FROM mailinglist"
            ).fetchall()
    except sqlite3.Error as error:
        raise NoQueue(f"Mailman's database {path} cannot be read: {error}") from error
    return {
        str(list_id): MailingList(str(name), str(host), _number(personalize))
        for list_id, name, host, personalize in rows
    }


def _number(value: object) -> int:
    """Return how a list is personalised; what is not known counts as most."""
    return value if isinstance(value, int) else 2
