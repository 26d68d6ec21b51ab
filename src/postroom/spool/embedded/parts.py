"""Where the parts of a queue lie: below its directory, or elsewhere by what is written down.

Owns QUEUE/layout.json, which is there once a part was moved out. What it does not name lies
below the queue's directory; what lies there by chance is not looked at. An outside part has the
queue's identity in it, and a lock of its own, so that a copy of the queue's directory never
serves the parts of the original beside it.

Guarantees: the record is replaced as a whole.
Called by: spool.embedded.layout, relocation, cli.  Raises: QueueUnusable, OSError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.spool.embedded.disk import Disk, read_whole, write_atomically
from postroom.spool.errors import QueueUnusable

PARTS: Final = ("qf", "df", "xf")
MEANING: Final = {"qf": "control", "df": "content", "xf": "transcripts"}
RECORD_NAME: Final = "layout.json"
_RECORD_OCTETS_MAX: Final = 64 * 1024


class LayoutRecord(msgspec.Struct, frozen=True):
    """Absolute paths of parts outside, "" for those below the queue's directory.

    `leaving` are directories whose files were copied elsewhere and are to be removed.
    """

    qf: str = ""
    df: str = ""
    xf: str = ""
    leaving: tuple[str, ...] = ()

    def place(self, directory: Path, part: str) -> Path:
        """Return where a part lies."""
        outside: str = getattr(self, part)
        return Path(outside) if outside else directory / part


AT_HOME: Final = LayoutRecord()


def read_record(disk: Disk, directory: Path) -> LayoutRecord:
    """Return the record of a queue; that of a queue without one says that all is at home."""
    path = directory / RECORD_NAME
    if not disk.exists(path):
        return AT_HOME
    try:
        octets = read_whole(disk, path, _RECORD_OCTETS_MAX)
        record = msgspec.json.decode(octets, type=LayoutRecord)
    except UNDECODABLE as error:
        raise QueueUnusable(f"{path} is damaged: {error}. Nothing was written.") from error
    if any(part and not Path(part).is_absolute() for part in (record.qf, record.df, record.xf)):
        raise QueueUnusable(f"{path}: a path is not absolute. Nothing was written.")
    return record


def write_record(disk: Disk, directory: Path, record: LayoutRecord) -> None:
    """Replace the record, durably."""
    octets = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    write_atomically(disk, directory / RECORD_NAME, octets)
