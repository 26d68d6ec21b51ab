"""What a benchmark case is: who is run under which load, and what is to come of it.

Values only. `bench.cases` lists all cases, `bench.compare` runs them, `bench.verdict` compares
what came of the runs with the goals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from bench.programs import Load
from bench.trial import Trial

Runner = Callable[[str, Load, Trial], dict[str, float]]
"""Runs one subject once; returns its figures by name."""


class Kind(Enum):
    """How a goal compares: at least, or at most, so many times the other; or a bound alone."""

    TIMES = "at least"
    FRACTION = "at most"
    BELOW = "below"
    TOLD = "told beside"
    """No goal: for the reader."""


@dataclass(frozen=True)
class Goal:
    """What one figure of one subject is to be, compared with the same of another."""

    figure: str
    words: str
    """What the figure is, with its unit, for people."""
    kind: Kind
    bound: float
    ours: str = "postroom"
    other: str = "postfix"
    digits: int = 0


@dataclass(frozen=True)
class Case:
    """One comparison."""

    name: str
    title: str
    load: Load
    subjects: tuple[str, ...]
    """Run in turn within each pair; mostly names of systems."""
    run: Runner
    goals: tuple[Goal, ...]
    systems: tuple[str, ...] = ()
    """The systems that are needed; empty: those of the subjects."""
    pairs_max: int = 100
    """Less where a run takes long and varies little."""
    in_all: bool = True
    """Whether --all runs it; else it must be named."""
    memory: bool = False

    @property
    def needed(self) -> tuple[str, ...]:
        """The systems without which it cannot run."""
        return self.systems or self.subjects


@dataclass(frozen=True)
class Run:
    """What one run of one subject came to."""

    case: str
    pair: int
    subject: str
    figures: dict[str, float]
    facts: dict[str, str] = field(default_factory=dict)
    """What a reader must know: machine, versions, settings, load, date."""
