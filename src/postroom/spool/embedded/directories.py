"""Which directories hold the queues of a base: numbered ones below it, or explicit ones.

Explicit directories may lie on several disks and be links. A pattern ("/var/queues/q.*")
stands for the directories that match when the server starts; a directory that has once been a
queue stays one, and one that is missing later is missing, not forgotten. What a pattern does
not say (names that begin with a dot, lost+found) and what lies inside another queue does not
match.

Guarantees: 1. nothing is made here.  2. A directory is found once, whatever names lead to it.
Called by: spool.embedded.manifest.  Raises: QueueUnusable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from postroom.spool.errors import QueueUnusable

_DIGITS = re.compile(r"(\d+)")
_MAGIC = re.compile(r"[*?\[]")
_HARMLESS = frozenset(("lost+found",))


class Explicit(NamedTuple):
    """One directory; `by_pattern`: nobody named it itself."""

    path: Path
    by_pattern: bool


def explicit_directories(given: Iterable[str]) -> list[Explicit]:
    """Return the directories that paths and patterns stand for, in order, each once."""
    found: list[Explicit] = []
    places: list[Path] = []
    for text in given:
        by_pattern = bool(_MAGIC.search(text))
        for path in _matches(text) if by_pattern else [Path(text)]:
            place = path.resolve()
            if any(place.is_relative_to(other) for other in places):
                continue
            places.append(place)
            found.append(Explicit(path, by_pattern))
    return found


def is_named(directory: Path, given: Iterable[str]) -> bool:
    """Say whether paths and patterns stand for a directory, also while it is missing."""
    return any(
        len(Path(text).parts) == len(directory.parts)
        and all(map(fnmatchcase, directory.parts, Path(text).parts))
        for text in given
    )


def require_fresh(directory: Path) -> None:
    """Raise QueueUnusable unless a queue may be made in `directory`: it is there, and empty."""
    try:
        names = {entry.name for entry in directory.iterdir()}
    except OSError as error:
        raise QueueUnusable(f"{directory}: {error.strerror}; make it first, mode 0700") from error
    strange = names - _HARMLESS
    if strange:
        raise QueueUnusable(
            f"{directory} holds {min(strange)} and is no queue of ours: empty it, "
            "or name another directory. Nothing was written."
        )


def _matches(text: str) -> list[Path]:
    pattern = Path(text)
    try:
        paths = list(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    except OSError as error:
        raise QueueUnusable(f"spool.directories = {text}: {error}") from error
    return sorted((path for path in paths if _is_meant(path, pattern)), key=_natural)


def _is_meant(path: Path, pattern: Path) -> bool:
    hidden = any(
        name.startswith(".") and not said.startswith(".")
        for name, said in zip(reversed(path.parts), reversed(pattern.parts), strict=False)
    )
    if hidden or path.name in _HARMLESS:
        return False
    try:
        return path.is_dir()
    except OSError:
        return False  # a disk that fails: what it held before is known from the manifest


def _natural(path: Path) -> list[tuple[int, str]]:
    """Order q.2 before q.10: text and numbers take turns."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _DIGITS.split(str(path))]
