"""The outcomes of one attempt, as they gather over several hosts.

Owns which recipients still need a host. A recipient that was deferred by one host in a way
that another may cure stays pending; its outcome so far is kept.

What hosts said is shown to the reply rules: what one of them teaches is kept for the report, and
where it says so a refusal counts as temporary or as permanent.

Guarantees: 1. an outcome of DELIVERED or a final FAILED never changes.  2. a recipient
fails for what concerns hosts only if every host tried said so for good.
Called by: delivery.smtp_agent.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.core.message import Envelope, Outcome, OutcomeKind
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.attempt import FailureScope, Found
from postroom.delivery.trouble import (
    FINAL_RECIPIENT,
    Concern,
    Remedy,
    remedy_for,
    scope_of,
)
from postroom.shaping.replies import Action, ReplyRules
from postroom.smtp.client_states import Cause, Failure, Stage, cause_of
from postroom.smtp.client_transaction import Transaction

_UNTRIED = Outcome(
    OutcomeKind.DEFERRED,
    Reply(451, EnhancedStatusCode("4.4.0"), "no host could be tried"),
)


_SAID = (Cause.TRANSIENT, Cause.PERMANENT, Cause.CLOSING)
"""What a host said; the words for all else are our own."""
_LEAVES_ALONE = (Action.SUSPEND, Action.SWITCH_SOURCE)
_TAKEN_FOR = {"deferred": Cause.TRANSIENT, "failed": Cause.PERMANENT}


class Tally:
    """Pending recipients and outcomes of one attempt."""

    __slots__ = (
        "_by_domain", "_concern", "_outcomes", "_rules", "envelope", "found", "may_go_on",
        "pending",
    )  # fmt: skip

    def __init__(
        self, envelope: Envelope, rules: ReplyRules | None = None, *, by_domain: bool = False
    ) -> None:
        """`by_domain`: the hosts are those of the recipients' domains, and no relay."""
        self.envelope = envelope
        self.found: list[Found] = []
        """What rules found, one of each."""
        self._rules = rules
        self._by_domain = by_domain
        self.pending = list(range(len(envelope.recipients)))
        self._outcomes: list[Outcome] = [_UNTRIED] * len(self.pending)
        self._concern: Concern | None = None
        self.may_go_on = True

    def pending_envelope(self) -> Envelope:
        """Return the envelope with the recipients that still need a host."""
        envelope = self.envelope
        if len(self.pending) == len(envelope.recipients):
            return envelope
        return Envelope(
            envelope.reverse_path,
            tuple(envelope.recipients[index] for index in self.pending),
            envelope.ret,
            envelope.envid,
            envelope.eight_bit,
            envelope.smtputf8,
            envelope.terms,
        )

    def add_failure(self, failure: Failure, host: str, remedy: Remedy | None = None) -> None:
        """Take a failure that concerns every pending recipient; None: the table's remedy."""
        learned = self._remedy(failure, host)
        # Where a rule says that the site is to be left alone, that goes first.
        remedy = learned if remedy is None or not learned.next_host else remedy
        self.pending = [
            index for index in self.pending if self._add(index, remedy, failure.reply, host)
        ]
        self.may_go_on = remedy.next_host

    def add_transaction(self, transaction: Transaction, host: str) -> None:
        """Take what a transaction came to; it was made of `pending_envelope`."""
        replies = transaction.rcpt_replies
        failure = transaction.failure
        finals = iter(transaction.final_replies)
        shared = None if failure is None else self._remedy(failure, host)
        several = len(transaction.final_replies) > 1
        still = []
        for position, index in enumerate(self.pending):
            rcpt = replies[position] if position < len(replies) else None
            # 1. refused by itself, unless MAIL had been refused or its refusal is of no
            #    weight because the conversation broke down: 5xx to RCPT counts even then.
            # 2. accepted, or not answered: what happened to the message.
            if rcpt is not None and not rcpt.is_positive and not _mail_failed(failure):
                refusal = Failure(Stage.RCPT, cause_of(rcpt), rcpt)
                if self._add(index, self._remedy(refusal, host, index), rcpt, host):
                    still.append(index)
                continue
            final = next(finals, None)
            if final is None and transaction.final_replies and failure is None:
                final = transaction.final_replies[0]
            if final is not None:
                self._add_final(index, final, host, several, transaction)
            else:
                assert failure is not None and shared is not None
                if self._add(index, shared, failure.reply, host):
                    still.append(index)
        self.pending = still
        self.may_go_on = shared is None or shared.next_host

    def _add_final(
        self, index: int, reply: Reply, host: str, several: bool, transaction: Transaction
    ) -> None:
        cause = cause_of(reply)
        if cause is Cause.ACCEPTED:
            self._outcomes[index] = Outcome(
                OutcomeKind.DELIVERED, reply, host, transaction.dsn_passed_on,
                transaction.deadline_dropped,
            )  # fmt: skip
            return
        failure = self._taken_for(Failure(Stage.FINAL, cause, reply), host, index)
        remedy = remedy_for(failure)
        if several:
            remedy = FINAL_RECIPIENT.get(failure.cause, remedy)
        self._add(index, remedy, reply, host)

    def _remedy(self, failure: Failure, host: str, index: int | None = None) -> Remedy:
        """Return what to do about a failure; where its site is to be left alone, no more hosts."""
        before = len(self.found)
        remedy = remedy_for(self._taken_for(failure, host, index))
        if len(self.found) > before and self.found[-1].rule.action in _LEAVES_ALONE:
            remedy = msgspec.structs.replace(remedy, next_host=False)
        return remedy

    def _taken_for(self, failure: Failure, host: str, index: int | None) -> Failure:
        """Show what a host said to the rules; return what it is taken for."""
        if not self._rules or not self.pending or failure.cause not in _SAID:
            return failure
        recipient = self.envelope.recipients[self.pending[0] if index is None else index]
        domain = recipient.domain if self._by_domain else ""
        rule = self._rules.find(failure.stage, failure.reply, host.partition("[")[0], domain)
        if rule is None:
            return failure
        if rule.action is not Action.NONE and all(one.rule is not rule for one in self.found):
            self.found.append(Found(rule, failure.reply))
        cause = _TAKEN_FOR.get(rule.outcome)
        return failure if cause is None else Failure(failure.stage, cause, failure.reply)

    def _add(self, index: int, remedy: Remedy, reply: Reply, host: str) -> bool:
        """Record; return whether another host is to be tried."""
        old = self._outcomes[index]
        hosts_differ = remedy.concern is Concern.HOST and remedy.kind is OutcomeKind.FAILED
        if not (hosts_differ and old is not _UNTRIED and old.kind is OutcomeKind.DEFERRED):
            self._outcomes[index] = Outcome(remedy.kind, reply, host)
        if remedy.concern is not Concern.HOST:
            self._concern = max(self._concern or remedy.concern, remedy.concern)
        return remedy.next_host

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return an outcome for each recipient of the envelope."""
        return tuple(self._outcomes)

    def scope(self) -> FailureScope:
        """Return what the failures are about; SITE only where no host judged any mail."""
        kinds = {outcome.kind for outcome in self._outcomes}
        if kinds == {OutcomeKind.DELIVERED}:
            return FailureScope.NONE
        if self._concern is not None:
            return scope_of(self._concern)
        return FailureScope.MESSAGE if OutcomeKind.DELIVERED in kinds else FailureScope.SITE


def _mail_failed(failure: Failure | None) -> bool:
    return failure is not None and failure.stage is Stage.MAIL
