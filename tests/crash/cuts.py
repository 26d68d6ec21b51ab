"""Many stories of power cuts, side by side: played, added up, and told as a table.

A story has CUTS cuts and is named by its seed, so a violation is played again by that seed alone.

Called by: tools.cuts, tests.  Raises: nothing; what is violated is in the outcome.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import msgspec

from tests.crash.owed import Broken
from tests.crash.story import CUTS, Story


class Outcome(msgspec.Struct):
    """What came of one story, or of many."""

    seed: int
    cuts: Counter[str] = msgspec.field(default_factory=Counter)
    at: Counter[str] = msgspec.field(default_factory=Counter)
    """Cuts by the operation that was not done any more."""
    left: Counter[str] = msgspec.field(default_factory=Counter)
    """What the disk did to what was not synced."""
    kills: int = 0
    faults: int = 0
    messages: int = 0
    acknowledged: int = 0
    operations: int = 0
    violations: list[str] = []

    def add(self, other: Outcome) -> None:
        """Count another in."""
        self.cuts += other.cuts
        self.at += other.at
        self.left += other.left
        self.kills += other.kills
        self.faults += other.faults
        self.messages += other.messages
        self.acknowledged += other.acknowledged
        self.operations += other.operations
        self.violations += other.violations


def play(seed: int) -> Outcome:
    """Play one story."""
    # SQLite, closing a file on a machine that is off, can tell nobody about it.
    sys.unraisablehook = lambda about: None
    story = Story(seed)
    violations = []
    try:
        story.play()
    except Broken as broken:
        violations.append(f"seed {seed}, cut {story.cuts.total()}, during {story.phase}: {broken}")
    except Exception as error:
        violations.append(f"seed {seed}, cut {story.cuts.total()}, {story.phase}: {error!r}")
    return Outcome(
        seed,
        story.cuts,
        story.at,
        story.disk.left,
        story.kills,
        story.faults,
        story.messages,
        story.acknowledged,
        story.disk.operations,
        violations,
    )


def play_all(first: int, cuts: int, processes: int) -> Iterator[Outcome]:
    """Play as many stories as have so many cuts, from seed `first` on; give each as it ends."""
    seeds = range(first, first + -(-cuts // CUTS))
    if processes == 1 or len(seeds) == 1:
        yield from map(play, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(play, seeds, chunksize=4)


def rows(found: Outcome, stories: int) -> list[tuple[str, str]]:
    """Return what the stories came to, line by line."""

    def parts(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {number:,}" for name, number in counts.most_common())

    lost = sum("lost" in one for one in found.violations)
    return [
        ("power cuts", f"{found.cuts.total():,} in {stories:,} stories, seeds from {found.seed}"),
        ("during", parts(found.cuts)),
        ("at this operation", parts(found.at)),
        ("what became of a file with unsynced writes", parts(found.left)),
        ("kills between the cuts", f"{found.kills:,}"),
        ("operations of the disk, of which failed", f"{found.operations:,}, {found.faults:,}"),
        ("messages acknowledged", f"{found.messages:,}"),
        ("changes acknowledged", f"{found.acknowledged:,}"),
        ("**acknowledged and lost**", f"**{lost:,}**"),
        ("other violations", f"{len(found.violations) - lost:,}"),
    ]
