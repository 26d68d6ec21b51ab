"""The overrides of channels, kept in the base over every restart.

Owns BASE/channels.json. One that cannot be read is an error and not "nothing was set": a
channel that an operator suspended must not go on because a file is damaged.

Guarantees: a change is durable once `keep` returns; a crash leaves the old or the new file.
Called by: supervisor.master, supervisor.channel_changes, cli.  Raises: QueueUnusable, OSError.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from postroom.channels.overrides import CONCURRENCY_MAX, Override
from postroom.spool.embedded.disk import Disk, RealDisk, write_atomically
from postroom.spool.errors import QueueUnusable
from postroom.supervisor.kept_file import read_kept

FILE = "channels.json"
OCTETS_MAX = 16 << 20
_VERSION = 1


class _Kept(msgspec.Struct, frozen=True):
    """The file."""

    version: int
    channels: dict[str, Override]


class ChannelOverrides:
    """The file of one base. Hold the lock of the base to change it."""

    def __init__(self, base: str | Path, disk: Disk | None = None) -> None:
        self.path = Path(base) / FILE
        self._disk = disk or RealDisk()

    def read(self) -> dict[str, Override]:
        """Return what is set, by channel."""
        if not self._disk.exists(self.path):
            return {}
        remedy = "mend it, or move it away: then nothing is set"
        kept = read_kept(self._disk, self.path, OCTETS_MAX, _Kept, _VERSION, remedy)
        for name, override in kept.channels.items():
            for value in (override.concurrency, override.site_concurrency):
                if value is not None and not 0 <= value <= CONCURRENCY_MAX:
                    raise QueueUnusable(f"{self.path}: {name}: {value} is no limit; {remedy}")
        return kept.channels

    def keep(self, overrides: Mapping[str, Override]) -> None:
        """Keep what is set; durable on return."""
        kept = _Kept(_VERSION, {name: overrides[name] for name in sorted(overrides)})
        octets = msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n"
        write_atomically(self._disk, self.path, octets)


def changed(
    overrides: Mapping[str, Override], name: str, override: Override
) -> dict[str, Override]:
    """Return overrides in which one channel has another; an empty one is left out."""
    others = {known: one for known, one in overrides.items() if known != name}
    return others if override.is_empty else {**others, name: override}
