"""A file of the base in which the master keeps what was set at run time: JSON, with a version.

Called by: supervisor.channel_overrides, supervisor.source_pauses.  Raises: QueueUnusable.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.spool.embedded.disk import Disk, read_whole
from postroom.spool.errors import QueueUnusable


class Versioned(Protocol):
    """What such a file holds."""

    @property
    def version(self) -> int:
        """Which program may read it."""
        ...


Kept = TypeVar("Kept", bound=Versioned)


def read_kept(
    disk: Disk, path: Path, octets_max: int, type: type[Kept], version: int, remedy: str
) -> Kept:
    """Return what a file holds that is there; `remedy` is what to do where it cannot be read."""
    try:
        kept = msgspec.json.decode(read_whole(disk, path, octets_max), type=type)
    except UNDECODABLE as error:
        raise QueueUnusable(f"{path}: {error}; {remedy}") from error
    if kept.version != version:
        text = f"version {kept.version}, this program knows {version}"
        raise QueueUnusable(f"{path}: {text}; {remedy}")
    return kept
