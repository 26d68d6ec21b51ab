"""What a worker runs, as the worker sees it.

Called by: supervisor.worker.  Raises: see each verb.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from postroom.config.model import Config
from postroom.control.server import Handler
from postroom.engine.learner import Learner
from postroom.engine.lessee import Lender
from postroom.observe.figures import Figures
from postroom.shaping.governor import Grant
from postroom.shaping.lessons import Lesson
from postroom.shaping.pauses import Pause
from postroom.spool.queue_state import QueueState


class Master(Lender, Protocol):
    """What a service asks of the master, by way of the worker."""

    def found(self, host: str, error: str, *, is_vouched: bool = False, failures: int = 0) -> None:
        """Tell all other queues that a host is down, or ("") that it works again.

        `is_vouched`: it was in use here all the time; so many probes of it have failed.
        """
        ...

    def blocked(self, pause: Pause) -> None:
        """Have all queues leave a source alone towards a site that blocks it."""
        ...

    def learned(self, lesson: Lesson) -> None:
        """Tell all other queues what a reply says of a site."""
        ...


class Service(Protocol):
    """One open queue: store, engine, listeners."""

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Handlers of the commands a worker answers."""
        ...

    def figures(self) -> Figures:
        """Return the row for the board; pid, queue, state and times are filled in later."""
        ...

    def prepare(self, config: Config) -> None:
        """Check that a configuration could be used; change nothing.

        Raises ConfigurationError or OSError that say what is wrong.
        """
        ...

    def apply(self, config: Config) -> None:
        """Use a configuration that `prepare` found good."""
        ...

    def granted(self, grants: Sequence[Grant]) -> None:
        """Take slots and tokens that were claimed, or leave some that others need."""
        ...

    def host_heard(
        self, host: str, error: str, *, is_vouched: bool = False, failures: int = 0
    ) -> None:
        """Take what another queue found out about a host."""
        ...

    def sources_paused(self, pauses: Sequence[Pause], resumed: str) -> None:
        """Take the pauses of sources as they are now."""
        ...

    @property
    def learner(self) -> Learner:
        """Who is to hear what all queues together have learned of sites."""
        ...

    def suspend(self) -> None:
        """Make no new attempts."""
        ...

    def resume(self) -> None:
        """Make attempts again."""
        ...

    def set_state(self, state: QueueState) -> None:
        """Take new mail or not, as the state of the queue says; attempts are not its matter."""
        ...

    async def run_all(self) -> None:
        """Make every deferred recipient due now."""
        ...

    async def run(self) -> None:
        """Serve until `stop` has been called; raises what ends the worker."""
        ...

    async def stop(self, deadline_s: float) -> None:
        """Accept nothing more, finish what is in flight within the deadline, close."""
        ...
