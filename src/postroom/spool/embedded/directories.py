"""Which directories hold the queues of a base: numbered ones below it, or explicit ones.

Explicit directories may lie on several disks and be links. A pattern ("/var/queues/q.*")
stands for the directories that match when the server starts; a directory that has once been a
queue stays one, and one that is missing later is missing, not forgotten.

Guarantees: 1. nothing is made here.  2. A directory is found once, whatever names lead to it.
Called by: spool.embedded.manifest, cli.  Raises: QueueUnusable.
"""

from __future__ import annotations

import re
from pathlib import Path

from postroom.spool.errors import QueueUnusable
from postroom.spool.policy import SpoolPolicy

_MAGIC = re.compile(r"[*?\[]")
_DIGITS = re.compile(r"(\d+)")
_HARMLESS = frozenset(("lost+found",))


def explicit_directories(policy: SpoolPolicy) -> list[Path]:
    """Return the directories that `policy.directories` stands for, in order, each once."""
    found: list[Path] = []
    places: set[Path] = set()
    for given in policy.directories:
        for path in _matches(given):
            place = path.resolve()
            if place not in places:
                places.add(place)
                found.append(path)
    if not found:
        patterns = ", ".join(policy.directories)
        raise QueueUnusable(f"no directory matches spool.directories = {patterns}; make them first")
    return found


def require_fresh(directory: Path) -> None:
    """Raise QueueUnusable unless a queue may be made in `directory`: it is there, and empty."""
    try:
        names = {entry.name for entry in directory.iterdir()}
    except OSError as error:
        raise QueueUnusable(f"{directory}: {error.strerror}; make it first, mode 0700") from error
    # What an interrupted making left is completed; anything else is somebody's.
    strange = names - _HARMLESS - {"qf", "df", "xf"}
    if strange:
        raise QueueUnusable(
            f"{directory} holds {min(strange)} and is no queue of ours: empty it, "
            "or name another directory. Nothing was written."
        )


def _matches(given: str) -> list[Path]:
    path = Path(given)
    if not _MAGIC.search(given):
        return [path]
    pattern = str(path.relative_to(path.anchor))
    return sorted(filter(Path.is_dir, Path(path.anchor).glob(pattern)), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Order q.2 before q.10: text and numbers take turns."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _DIGITS.split(str(path))]
