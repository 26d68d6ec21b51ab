"""Checksums of the pages of a control file: what a disk gives back is what was written.

SQLite has none of its own but in the WAL, where a start verifies them. Its extension cksumvfs keeps
one in the last eight octets of each page, and verifies it whenever a page is read from the disk:
a page that is not what was written is an error (SQLITE_IOERR_DATA) and no row.

A file has them from its making on; one that was made without them stays without. Where the
extension cannot be loaded files are made without, and those with checksums are not opened.

Called by: spool.embedded.schema, layout, store, reading, spool.fsck, spool.salvage.
Raises: nothing, but apsw.Error and OSError from `wrong_pages`.
Source: https://sqlite.org/cksumvfs.html
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import apsw

RESERVED_OCTETS: Final = 8
"""At the end of each page; more or less, and the extension keeps no checksum."""
# https://sqlite.org/fileformat.html §1.3: where the first page tells of pages.
_PAGE_SIZE_AT, _RESERVED_AT, _HEAD_OCTETS = 16, 20, 100
_VFS: Final = "cksmvfs"


@functools.cache
def verifying_vfs() -> str:
    """Return the name of the VFS that verifies, "" where there is none on this machine."""
    try:
        from apsw.sqlite_extra import NotAvailable, load
    except ImportError:
        return ""
    connection = apsw.Connection(":memory:")
    try:
        load(connection, "cksumvfs")  # for the whole life of the process
    except (OSError, apsw.Error, NotAvailable):
        return ""
    finally:
        connection.close()
    return _VFS if _VFS in apsw.vfs_names() else ""


def wrong_pages(control: Path) -> int:
    """Return how many pages of a control file are not what was written; nobody else has it open.

    A page of which the WAL has a later state counts as well: it was written once.
    """
    vfs = verifying_vfs()
    if not vfs:
        return 0
    with control.open("rb") as file:
        head = file.read(_HEAD_OCTETS)
        if len(head) < _HEAD_OCTETS or head[_RESERVED_AT] != RESERVED_OCTETS:
            return 0
        size = int.from_bytes(head[_PAGE_SIZE_AT : _PAGE_SIZE_AT + 2], "big") or 65_536
        file.seek(0)
        verify = apsw.Connection(":memory:", vfs=vfs).execute
        wrong = 0
        while len(page := file.read(size)) == size:
            wrong += verify("SELECT verify_checksum(?)", (page,)).get == 0
    return wrong


def is_damage(error: BaseException) -> bool:
    """Say whether an error is that of a page whose checksum is wrong."""
    code = getattr(error, "extendedresult", 0)  # its type does not tell of it
    return isinstance(error, apsw.IOError) and code == apsw.SQLITE_IOERR_DATA


def said_of(error: BaseException) -> str:
    """Return what an error says; SQLite's own words for a wrong checksum are those of any other."""
    return "a page is not what was written to it" if is_damage(error) else str(error)
