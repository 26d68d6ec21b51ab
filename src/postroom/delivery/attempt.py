"""An attempt and its report: the border between the engine and delivery.

The engine makes an Attempt, an agent tries it and answers with an AttemptReport. An agent
never raises for what the world does wrong: it reports.

Called by: engine.pump, delivery.agent.  Raises: nothing.
"""

from __future__ import annotations

import enum
from typing import Protocol

import msgspec

from postroom.core.ids import QueueId
from postroom.core.message import Content, Envelope, Outcome
from postroom.core.reply import Reply
from postroom.routing.destination import Destination
from postroom.shaping.allowance import Allowance
from postroom.shaping.gate import Gate
from postroom.shaping.replies import ReplyRule


class FailureScope(enum.IntEnum):
    """What a failure is about, and so what else it should keep from being tried now.

    RECIPIENT and MESSAGE concern only this mail. SITE: no host of the site could be used,
    so its other mail need not be tried for a while. LOCAL: the failure is ours (no
    descriptors, unreadable content).
    """

    NONE = 0
    RECIPIENT = 1
    MESSAGE = 2
    SITE = 3
    LOCAL = 4


class Attempt(msgspec.Struct, frozen=True):
    """One try: some recipients of one message, all at one destination.

    `envelope` holds only the recipients of this attempt. `gates` are those at which it is
    counted: a connection of its own needs a slot of each. `allowance` is the source it goes from
    and whether it may open connections; None: as it likes. `by_left_s` is how much time it has
    until its deadline, which the next hop is told; None where there is none.
    """

    id: QueueId
    envelope: Envelope
    content: Content
    destination: Destination
    number: int = 1
    gates: tuple[Gate, ...] = ()
    allowance: Allowance | None = None
    by_left_s: float | None = None


class Found(msgspec.Struct, frozen=True):
    """A reply, and the rule that says what it means for its site."""

    rule: ReplyRule
    reply: Reply


class AttemptReport(msgspec.Struct, frozen=True):
    """What came of it: `outcomes` stand side by side with the attempt's recipients.

    `host` is the last host spoken to, `tls` the protocol version used or "",
    `duration_s` the time it took, `transcript` the dialogue where the attempt failed. `untried`:
    every host was known to be down, so none was asked; it counts as no attempt. `probe_at`: when
    one of the site's hosts, which are all down, is to be tried again; 0 where that is not known.
    `is_put_back`: no host was asked, as the allowance says; it is tried again as soon as it may be.
    `found` is what replies say about the site. `is_refused`: no connection was got, and the site
    works: it was one too many. `is_turned_away`: a host was there and gave none.
    """

    outcomes: tuple[Outcome, ...]
    scope: FailureScope = FailureScope.NONE
    host: str = ""
    tls: str = ""
    duration_s: float = 0.0
    transcript: str = ""
    untried: bool = False
    probe_at: float = 0.0
    is_put_back: bool = False
    found: tuple[Found, ...] = ()
    is_refused: bool = False
    is_turned_away: bool = False


class Agent(Protocol):
    """Tries attempts; owns the connections it keeps open."""

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        """Try once, trying the site's other hosts within the attempt where allowed."""
        ...

    def trim(self, gate: Gate) -> None:
        """Close connections that no attempt uses, as far as slots of the gate are called back."""
        ...

    async def close(self) -> None:
        """Close what is open, politely, within a few seconds."""
        ...
