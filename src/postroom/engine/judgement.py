"""What outcomes are judged by, and what comes of that: values of engine.judge.

Called by: engine.judge, engine.settle and who gives it cases.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Outcome, Recipient, RecipientStatus
from postroom.core.terms import Terms
from postroom.observe.events import Event, ReportDropped
from postroom.queueing.lane import Rest
from postroom.reports.decide import ReportKind
from postroom.routing.destination import Destination
from postroom.routing.policy import MxRoute, RelayRoute


class Case(msgspec.Struct, frozen=True):
    """What outcomes are judged by: the message's facts and where it was going."""

    id: QueueId
    since: float
    """When its lifetime began."""
    reverse_path: str
    channel: ChannelPolicy
    site: str
    ends_here: bool = False
    """True where the route is the last hop, so that delivered means delivered."""
    rest: Rest | None = None
    """Where nothing was tried, for the site rests."""
    terms: Terms | None = None
    not_before: float = 0.0
    """Until when deferred mail of the site waits at least, whatever the schedule says."""
    tenant: str = ""
    """Whose mail it is, where tenants are told apart."""
    started_at: float = 0.0
    """When the attempt began; 0 where nothing was tried."""

    @classmethod
    def of(
        cls,
        queue_id: QueueId,
        since: float,
        envelope: Envelope,
        destination: Destination,
        rest: Rest | None = None,
        not_before: float = 0.0,
        tenant: str = "",
        started_at: float = 0.0,
    ) -> Case:
        """Make a case for mail that was going to `destination`."""
        ends_here = not isinstance(destination.route, MxRoute | RelayRoute)
        return cls(
            queue_id, since, envelope.reverse_path, destination.channel, destination.site,
            ends_here, rest, envelope.terms, not_before, tenant, started_at,
        )  # fmt: skip


class DueReport(msgspec.Struct, frozen=True):
    """A DSN of one kind that is owed for one recipient."""

    kind: ReportKind
    recipient: Recipient
    status: RecipientStatus
    outcome: Outcome
    attempted_at: float
    retry_until: float | None = None


class Judgement(msgspec.Struct, frozen=True):
    """New statuses, in the order of the outcomes, and what follows from them.

    `events` has one for each status; they and `dropped`, the failures nobody is told of,
    are to be emitted once the statuses are durable.
    """

    statuses: tuple[RecipientStatus, ...]
    finals: int
    events: tuple[Event, ...]
    reports: tuple[DueReport, ...]
    dropped: tuple[ReportDropped, ...] = ()
    at: float = 0.0
    """When the outcomes were known."""
