"""What a runner is told beside its load, and where it says which system it met."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.systems import System

QUICK = 8


@dataclass
class Trial:
    """The settings of one run."""

    directory: str
    """Queues lie below it, on its disk."""
    deadline_s: float = 300.0
    quick: bool = False
    """Whether it is only to be seen that it works: whatever takes long is QUICK times less."""
    memory: bool = False
    """Whether to look at the memory meanwhile: it costs some processor time."""
    systems: dict[str, System] = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)
    """What a runner found out for all runs of its case."""

    def describe(self, system: System) -> None:
        """Keep what a reader must know of a system."""
        self.systems[system.name] = system

    def facts(self, subject: str) -> dict[str, str]:
        """Return what is known of a subject, where it is a system."""
        system = self.systems.get(subject)
        if system is None:
            return {}
        about = f"{system.name} {system.version}: {system.settings}; {system.sync}"
        return {"version": system.version, "system": about}
