"""What a soak looks at: memory, descriptors and threads of each process, and whether they rise.

`Sample` is one look at one process. `verdict` judges a series by the median of the slopes between
all pairs of its samples (Theil and Sen), which single peaks do not move, over the second half of
the life of each process: what a process fills in its first minutes, such as caches and the arenas
of the allocator, is no leak.

Bounds, of what the fit says was added within that half:
    memory        MEMORY_MIN_OCTETS, or MEMORY_SHARE of the median, whichever is more
    descriptors   DESCRIPTORS_MIN, or DESCRIPTORS_SHARE of the median
    threads       THREADS_MAX
A process that lived for less than a third of the run, or than four minutes, is not judged: it was
still filling what it keeps.

Pure but for `look`.  Called by: tests.support.soak_run, tools.soak.  Raises: nothing.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

MEMORY_MIN_OCTETS = 3 << 20
MEMORY_SHARE = 0.05
DESCRIPTORS_MIN = 4.0
DESCRIPTORS_SHARE = 0.1
THREADS_MAX = 1.0
JUDGED_SHARE, JUDGED_MIN_S = 1 / 3, 240.0
POINTS_MAX = 240
"""Of one series: the slopes between all pairs of more would take long and say the same."""
HOUR_S = 3600.0


class Sample(msgspec.Struct, frozen=True):
    """One look. `anonymous_octets` is the memory that is the process's own."""

    at: float
    rss_octets: int
    pss_octets: int
    anonymous_octets: int
    descriptors: int
    threads: int
    cpu_s: float


class Rise(msgspec.Struct, frozen=True):
    """What one measure of one process did in the second half of its life."""

    process: str
    pid: int
    measure: str
    age_s: float
    half_s: float
    median: float
    added: float
    bound: float
    is_judged: bool = True

    @property
    def per_hour(self) -> float:
        """What it would add within an hour."""
        return self.added / self.half_s * HOUR_S if self.half_s else 0.0

    @property
    def is_flat(self) -> bool:
        """True where it stays within its bound, or was not judged."""
        return not self.is_judged or self.added <= self.bound


def look(pid: int, now: float) -> Sample | None:
    """Look at a process; None where it is gone."""
    place = Path(f"/proc/{pid}")
    try:
        rollup = _fields(place / "smaps_rollup")
        status = _fields(place / "status")
        words = (place / "stat").read_text().rpartition(")")[2].split()
        descriptors = len(os.listdir(place / "fd"))
    except OSError:
        return None
    return Sample(
        now, rollup["Rss"] << 10, rollup["Pss"] << 10, status.get("RssAnon", 0) << 10, descriptors,
        status["Threads"], (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"),
    )  # fmt: skip


def _fields(path: Path) -> dict[str, int]:
    found = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        name, _, rest = line.partition(":")
        word = rest.split()[:1]
        if word and word[0].isdigit():
            found[name] = int(word[0])
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median of the slopes between all pairs of points."""
    step = max(1, len(points) // POINTS_MAX)
    chosen = points[::step]
    slopes = [
        (later[1] - sooner[1]) / (later[0] - sooner[0])
        for place, sooner in enumerate(chosen)
        for later in chosen[place + 1 :]
        if later[0] > sooner[0]
    ]
    return statistics.median(slopes) if slopes else 0.0


def verdict(process: str, pid: int, samples: Sequence[Sample], run_s: float) -> list[Rise]:
    """Return what each measure did in the second half of a process's life."""
    if len(samples) < 4:
        return []
    age_s = samples[-1].at - samples[0].at
    half = [one for one in samples if one.at >= samples[0].at + age_s / 2]
    half_s = half[-1].at - half[0].at
    rises = []
    for measure, least, share in (
        ("anonymous_octets", float(MEMORY_MIN_OCTETS), MEMORY_SHARE),
        ("descriptors", DESCRIPTORS_MIN, DESCRIPTORS_SHARE),
        ("threads", THREADS_MAX, 0.0),
    ):
        points = [(one.at, float(getattr(one, measure))) for one in half]
        median = statistics.median(value for _, value in points)
        added = slope(points) * half_s
        bound = max(least, share * median)
        is_judged = age_s >= max(JUDGED_MIN_S, JUDGED_SHARE * run_s)
        rises.append(Rise(process, pid, measure, age_s, half_s, median, added, bound, is_judged))
    return rises
