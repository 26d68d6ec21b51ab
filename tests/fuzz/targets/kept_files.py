"""Files that a server keeps and reads at its start: manifest, maildrop, users, flights and others.

Input: which of them, then the octets of the file.

1. It is read, or the error of its reader names the file; never another exception.
2. What was read is written to what is read the same; a damaged maildrop file is told as Damaged
   and is no message.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from postroom.core.errors import ConfigurationError
from postroom.core.message import Envelope, Recipient
from postroom.ingress.users import load_users
from postroom.observe.flights import Flights
from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.manifest import Manifest, ManifestQueue, read_manifest, write_manifest
from postroom.spool.embedded.parts import read_record
from postroom.spool.errors import QueueUnusable
from postroom.spool.maildrop import Damaged, MaildropHead, read_file
from postroom.supervisor.channel_overrides import read_overrides
from tests.fuzz.draw import Draw
from tests.fuzz.target import IN_MEMORY, Target, spelt

_ID = "0123456789abcdef"


@cache
def _place() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-kept-", dir=IN_MEMORY)


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    which = draw.number(4)
    (_manifest, _maildrop, _users, _flights, _layout)[which](draw.rest(), Path(_place().name))


def _manifest(octets: bytes, place: Path) -> None:
    (place / "manifest.json").write_bytes(octets)
    try:
        found = read_manifest(place)
    except QueueUnusable as error:
        assert "manifest.json" in str(error)
        return
    assert found is not None
    write_manifest(place, found)
    assert read_manifest(place) == found


def _maildrop(octets: bytes, place: Path) -> None:
    path = place / _ID
    path.write_bytes(octets)
    try:
        head, content = read_file(path)
    except Damaged as error:
        assert _ID in str(error)
        return
    assert octets.endswith(content) and head.size_octets == len(content)


def _users(octets: bytes, place: Path) -> None:
    path = place / "users"
    path.write_bytes(octets)
    path.chmod(0o600)
    try:
        load_users(path)
    except ConfigurationError as error:
        assert str(path) in str(error)


def _flights(octets: bytes, place: Path) -> None:
    left = Flights(bytearray(octets)).left
    assert len(left) <= len(octets)


def _layout(octets: bytes, place: Path) -> None:
    (place / "layout.json").write_bytes(octets)
    try:
        read_record(RealDisk(), place)
    except QueueUnusable as error:
        assert str(place) in str(error)
