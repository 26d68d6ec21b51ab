"""The pauses of sources, kept in the base over every restart.

Owns BASE/sources.json. One that cannot be read is an error and not "nothing is paused": mail must
not go out from an address that an operator paused because a file is damaged.

Guarantees: a change is durable once `keep` returns; a crash leaves the old or the new file.
Called by: supervisor.source_changes, cli.  Raises: QueueUnusable, OSError.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from postroom.shaping.pauses import Pause
from postroom.spool.embedded.disk import Disk, RealDisk, write_atomically
from postroom.supervisor.kept_file import read_kept

FILE = "sources.json"
OCTETS_MAX = 16 << 20
PAUSES_MAX = 10_000
"""Beyond it the automatic pauses that end first are forgotten."""
_VERSION = 1


class _Kept(msgspec.Struct, frozen=True):
    """The file."""

    version: int
    pauses: tuple[Pause, ...]


class SourcePauses:
    """The file of one base. Hold the lock of the base to change it."""

    def __init__(self, base: str | Path, disk: Disk | None = None) -> None:
        self.path = Path(base) / FILE
        self._disk = disk or RealDisk()

    def read(self) -> tuple[Pause, ...]:
        """Return the pauses that were kept, those that are over by now too."""
        if not self._disk.exists(self.path):
            return ()
        remedy = "mend it, or move it away: then no source is paused"
        kept = read_kept(self._disk, self.path, OCTETS_MAX, _Kept, _VERSION, remedy)
        return kept.pauses

    def keep(self, pauses: Iterable[Pause]) -> None:
        """Keep what is paused; durable on return."""
        octets = msgspec.json.format(msgspec.json.encode(_Kept(_VERSION, tuple(pauses))), indent=1)
        write_atomically(self._disk, self.path, octets + b"\n")


def current(pauses: Iterable[Pause], now: float) -> tuple[Pause, ...]:
    """Return the pauses that are not over."""
    return tuple(one for one in pauses if now < one.ends_at)


def with_pause(pauses: Iterable[Pause], pause: Pause) -> tuple[Pause, ...]:
    """Return pauses with one more, or one in place of that of the same source and site.

    An operator's pause is not shortened by an automatic one.
    """
    others = []
    for one in pauses:
        if (one.source, one.site) != (pause.source, pause.site):
            others.append(one)
        elif pause.is_automatic and not one.is_automatic and one.ends_at > pause.ends_at:
            return tuple(pauses)
    if len(others) >= PAUSES_MAX:
        first = min((one for one in others if one.is_automatic), key=lambda one: one.ends_at,
                    default=None)  # fmt: skip
        others = [one for one in others if one is not first]
    return (*others, pause)


def without(pauses: Iterable[Pause], source: str, site: str) -> tuple[Pause, ...]:
    """Return pauses without those of a source: towards one site, or ("") all of them."""
    return tuple(one for one in pauses if one.source != source or (site != "" and one.site != site))
