"""What one attempt by SMTP or LMTP has come to so far.

Owns its tally, its transcript and the limits of how far it goes.
Guarantees: an attempt that delivers at once pays for neither tally nor transcript.
Called by: delivery.smtp_agent.  Raises: nothing.
"""

from __future__ import annotations

import asyncio

from postroom.core.message import Outcome, OutcomeKind
from postroom.delivery.attempt import Attempt, AttemptReport
from postroom.delivery.connection import Connection
from postroom.delivery.tally import Tally
from postroom.delivery.transcript import Transcript
from postroom.delivery.trouble import Remedy
from postroom.routing.policy import MxRoute
from postroom.shaping.replies import ReplyRules
from postroom.smtp.client_states import Failure
from postroom.smtp.client_transaction import Transaction

ADDRESSES_MAX = 10
"""Addresses tried in one attempt: a site with hundreds must not hold its slot for hours."""

SESSIONS_MAX = 3
"""Hosts of one attempt that get as far as MAIL: whom three defer, the next try serves."""


class Run:
    """What one attempt has come to so far."""

    __slots__ = (
        "_connection", "_rules", "_started", "_tally", "_transcript", "addresses", "attempt",
        "deadline", "host", "replies", "sessions", "tls", "was_at_limit", "was_turned_away",
    )  # fmt: skip

    def __init__(
        self, attempt: Attempt, started: float, deadline: float, rules: ReplyRules
    ) -> None:
        self._rules = rules
        self.attempt = attempt
        self.deadline = deadline
        self.addresses = 0
        self.sessions = 0
        self.was_at_limit = False
        """Whether a host that works gave us no further session."""
        self.was_turned_away = False
        """Whether a host answered, and gave us no session."""
        self.replies = 0
        self.host = ""
        self.tls = ""
        self._started = started
        self._tally: Tally | None = None
        self._transcript: Transcript | None = None

    @property
    def tally(self) -> Tally:
        """The outcomes so far."""
        if self._tally is None:
            by_domain = isinstance(self.attempt.destination.route, MxRoute)
            self._tally = Tally(self.attempt.envelope, self._rules, by_domain=by_domain)
        return self._tally

    @property
    def transcript(self) -> Transcript:
        """The dialogue so far."""
        if self._transcript is None:
            self._transcript = Transcript()
        return self._transcript

    @property
    def has_tried(self) -> bool:
        """True once there is anything to report."""
        return self._transcript is not None

    def may_go_on(self) -> bool:
        """Say whether another address is to be tried."""
        return (
            bool(self.tally.pending)
            and self.tally.may_go_on
            and self.addresses < ADDRESSES_MAX
            and self.sessions < SESSIONS_MAX
            and asyncio.get_running_loop().time() < self.deadline
        )

    def elapsed_s(self) -> float:
        """Return how long the attempt has taken so far."""
        return asyncio.get_running_loop().time() - self._started

    def note_failure(self, failure: Failure, host: str, remedy: Remedy | None = None) -> None:
        """Take a failure to get a connection that is ready for mail."""
        self.host = host
        self.tally.add_failure(failure, host, remedy)
        self.transcript.add_failure(failure, host)

    def note(self, transaction: Transaction, connection: Connection) -> None:
        """Take what a transaction came to."""
        self.host, self.tls = connection.host, connection.tls
        self.transcript.add_transaction(transaction, connection.session, connection.host)
        self.tally.add_transaction(transaction, connection.host)

    def delivered(self, transaction: Transaction, connection: Connection) -> AttemptReport:
        """Report, short: every recipient was delivered on the first connection."""
        host = connection.host
        outcome = Outcome(
            OutcomeKind.DELIVERED, transaction.final_replies[0], host, transaction.dsn_passed_on,
            transaction.deadline_dropped,
        )  # fmt: skip
        return AttemptReport(
            outcomes=(outcome,) * len(transaction.rcpt_replies),
            host=host,
            tls=connection.tls,
            duration_s=asyncio.get_running_loop().time() - self._started,
        )

    def report(self, probe_at: float) -> AttemptReport:
        """Report what came of the whole attempt, and when a site that is down is to be probed."""
        tally = self.tally
        outcomes = tally.outcomes()
        delivered = all(outcome.kind is OutcomeKind.DELIVERED for outcome in outcomes)
        return AttemptReport(
            outcomes=outcomes,
            scope=tally.scope(),
            host=self.host,
            tls=self.tls,
            duration_s=asyncio.get_running_loop().time() - self._started,
            transcript="" if delivered else self.transcript.text(),
            probe_at=probe_at,
            found=tuple(tally.found),
            is_refused=self.was_at_limit and not self.sessions,
            is_turned_away=self.was_turned_away and not self.sessions,
        )
