"""Where Mailman 3's files lie: the queues that hold outbound mail, and the database of lists.

`out` waits to be sent, `retry` was deferred. `.pck` is whole, `.bak` is what a runner was at
when it ended (Mailman takes it up again as `.pck`), `.tmp` was not finished. Mail in other queues
is not outbound yet, or never will be: the first is told of, the second (archive, bounces, nntp,
and what Mailman gave up, bad and shunt) is passed over.

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
UNFINISHED = ("in", "pipeline", "virgin", "digest", "command")
"""Queues whose mail, or the answer to it, goes to `out` once Mailman has worked on it."""
DATABASE_WAIT_S = 1.0


def walk(directory: Path) -> Iterator[Entry]:
    """Give the entries of Mailman's queue_dir, or of its var_dir, which holds `queue`."""
    queues = directory / "queue" if (directory / "queue" / "out").is_dir() else directory
    if not (queues / "out").is_dir():
        raise NoQueue(f"{directory} has no out: is it Mailman's queue_dir?")
    lists = lists_beside(queues)
    for queue in (*OUTBOUND, *UNFINISHED):
        if not (queues / queue).is_dir():
            continue
        for path in sorted((queues / queue).iterdir()):
            place = str(path.relative_to(directory))
            whole = path.suffix in (".pck", ".bak")
            if queue in OUTBOUND and whole:
                yield Entry(place, _reader(path, lists))
            elif queue in OUTBOUND:
                yield refusing(place, "not finished: Mailman had not queued it")
            elif whole:
                yield refusing(
                    place, f"Mailman has not finished it: it is in its queue {queue}, not in out"
                )


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
