"""From what went wrong to what is done about it: the one table.

For each step of a delivery and each way it can end: is the mail deferred or failed, whom
does the trouble concern, and is another host tried within the attempt. No other module
decides this.

    a reply of 5xx is permanent; 4xx, the network, the unknown and our own mistakes are
    temporary. Two deviations, both on the side of keeping mail: a 5xx to AUTH is about our
    password and not about the mail, and a 5xx to STARTTLS is about the connection.

Called by: delivery.tally, delivery.smtp_agent.  Raises: nothing.
RFC 5321 §4.2.1, §4.5.4.1, §5.1; RFC 2033 §4.2.
"""

from __future__ import annotations

import enum

import msgspec

from postroom.core.message import OutcomeKind
from postroom.delivery.attempt import FailureScope
from postroom.smtp.client_states import Cause, Failure, Stage


class Concern(enum.IntEnum):
    """Whom a failure is about."""

    RECIPIENT = 0
    MESSAGE = 1
    HOST = 2
    LOCAL = 3


class Remedy(msgspec.Struct, frozen=True):
    """What a failure means: outcome, whom it concerns, whether another host is tried."""

    kind: OutcomeKind
    concern: Concern
    next_host: bool


_DEFER_HOST = Remedy(OutcomeKind.DEFERRED, Concern.HOST, next_host=True)
_FAIL_HOST = Remedy(OutcomeKind.FAILED, Concern.HOST, next_host=True)
_FAIL_LOOP = Remedy(OutcomeKind.FAILED, Concern.HOST, next_host=False)
_DEFER_MESSAGE = Remedy(OutcomeKind.DEFERRED, Concern.MESSAGE, next_host=False)
_DEFER_MESSAGE_NEXT = Remedy(OutcomeKind.DEFERRED, Concern.MESSAGE, next_host=True)
_FAIL_MESSAGE = Remedy(OutcomeKind.FAILED, Concern.MESSAGE, next_host=False)
_DEFER_RECIPIENT = Remedy(OutcomeKind.DEFERRED, Concern.RECIPIENT, next_host=False)
_DEFER_RECIPIENT_NEXT = Remedy(OutcomeKind.DEFERRED, Concern.RECIPIENT, next_host=True)
_FAIL_RECIPIENT = Remedy(OutcomeKind.FAILED, Concern.RECIPIENT, next_host=False)
_DEFER_LOCAL = Remedy(OutcomeKind.DEFERRED, Concern.LOCAL, next_host=False)

# For each stage: what 4xx, 5xx and a broken conversation (421, lost, timeout, violation)
# mean.
#
# RESOLVE..HELLO  the host cannot be used; RFC 5321 §5.1: the next one is tried.
# TLS, AUTH       the same, and never for good.
# MAIL, RCPT,     4xx: the next host may be in a better mood (RFC 5321 §5.1); 5xx is for
# DATA            good. Nothing was sent yet, so a lost connection moves on, too.
# FINAL           the host judged the content, or may have taken it: asking another host
#                 gains nothing for the first and risks a duplicate for the second. It
#                 concerns the message, so that content which makes a host hang up does not
#                 put its whole site to rest.
_BY_STAGE: dict[Stage, tuple[Remedy, Remedy, Remedy]] = {
    Stage.RESOLVE: (_DEFER_HOST, _FAIL_HOST, _DEFER_HOST),
    Stage.CONNECT: (_DEFER_HOST, _DEFER_HOST, _DEFER_HOST),
    Stage.GREETING: (_DEFER_HOST, _FAIL_HOST, _DEFER_HOST),
    Stage.HELLO: (_DEFER_HOST, _FAIL_HOST, _DEFER_HOST),
    Stage.TLS: (_DEFER_HOST, _DEFER_HOST, _DEFER_HOST),
    Stage.AUTH: (_DEFER_HOST, _DEFER_HOST, _DEFER_HOST),
    Stage.MAIL: (_DEFER_MESSAGE_NEXT, _FAIL_MESSAGE, _DEFER_HOST),
    Stage.RCPT: (_DEFER_RECIPIENT_NEXT, _FAIL_RECIPIENT, _DEFER_HOST),
    Stage.DATA: (_DEFER_MESSAGE_NEXT, _FAIL_MESSAGE, _DEFER_HOST),
    Stage.FINAL: (_DEFER_MESSAGE, _FAIL_MESSAGE, _DEFER_MESSAGE),
}

TABLE: dict[tuple[Stage, Cause], Remedy] = {}
for _stage, (_on_4xx, _on_5xx, _on_break) in _BY_STAGE.items():
    TABLE[_stage, Cause.TRANSIENT] = _on_4xx
    TABLE[_stage, Cause.PERMANENT] = _on_5xx
    TABLE[_stage, Cause.CLOSING] = _on_break
    TABLE[_stage, Cause.LOST] = _on_break
    TABLE[_stage, Cause.TIMEOUT] = _on_break
    TABLE[_stage, Cause.VIOLATION] = _on_break
    # The mail needs what the host lacks: known without asking, and for good. Before MAIL it
    # is the host that lacks what our policy demands (TLS, AUTH).
    TABLE[_stage, Cause.UNSUITABLE] = _FAIL_MESSAGE if _stage >= Stage.MAIL else _DEFER_HOST
    # RFC 5321 §5.1: hosts of our own preference and worse are not tried.
    TABLE[_stage, Cause.LOOP] = _FAIL_LOOP
    TABLE[_stage, Cause.LOCAL] = _DEFER_LOCAL

FINAL_RECIPIENT = {
    # RFC 2033 §4.2: after the data LMTP answers for each recipient by itself.
    Cause.TRANSIENT: _DEFER_RECIPIENT,
    Cause.PERMANENT: _FAIL_RECIPIENT,
    Cause.VIOLATION: _DEFER_RECIPIENT,
}

AT_LIMIT = _DEFER_MESSAGE_NEXT
"""What a host means that gives no further session beside one that works."""

LIVELY_S = 10.0
"""A session that heard of its host so lately shows that the host works."""

_SCOPES = {
    Concern.RECIPIENT: FailureScope.RECIPIENT,
    Concern.MESSAGE: FailureScope.MESSAGE,
    Concern.HOST: FailureScope.SITE,
    Concern.LOCAL: FailureScope.LOCAL,
}


def remedy_for(failure: Failure) -> Remedy:
    """Return what to do about a failure; an unknown one is temporary."""
    return TABLE.get((failure.stage, failure.cause), _DEFER_LOCAL)


def scope_of(concern: Concern) -> FailureScope:
    """Return the scope to report once no host is left to try."""
    return _SCOPES[concern]


def is_stale_reuse(failure: Failure, replies: int) -> bool:
    """Say whether a kept-open connection had simply been closed by its server.

    True where the first command of a transaction was never answered but by the end of the
    connection: that is about the connection and not about the mail, which is tried on a new
    one. `replies` counts those of this transaction.
    """
    # RFC 5321 §3.8: a server may close an idle connection, with or without 421.
    return (failure.cause is Cause.LOST and replies == 0) or (
        failure.cause is Cause.CLOSING and replies <= 1
    )


def is_about_host(failure: Failure) -> bool:
    """Say whether a failure to get a connection shows that nobody can use the host now.

    What our own policy asks of it (TLS, a password) is no matter of other routes.
    """
    return (
        remedy_for(failure).concern is Concern.HOST
        and failure.stage in (Stage.CONNECT, Stage.GREETING, Stage.HELLO)
        and failure.cause not in (Cause.LOOP, Cause.UNSUITABLE)
    )


def is_at_limit(failure: Failure, heard_ago_s: float | None) -> bool:
    """Say whether a host that gave us no session works, and only has no room for one more.

    `heard_ago_s`: when an open session with it last heard of it; None: there is no such session.
    """
    if (
        heard_ago_s is None
        or not is_about_host(failure)
        or failure.cause not in (Cause.CLOSING, Cause.TRANSIENT, Cause.LOST, Cause.TIMEOUT)
    ):
        return False
    # Whoever greets us with 421 is there (RFC 5321 §4.2.3). Silence may also be that of a host
    # that died beside its sessions, which do not notice before they are used.
    greeted = failure.stage is not Stage.CONNECT and failure.cause in (
        Cause.CLOSING,
        Cause.TRANSIENT,
    )
    return greeted or heard_ago_s <= LIVELY_S


def is_turned_away(failure: Failure) -> bool:
    """Say whether a host that is there gave us no session for now: it may be down, or full."""
    return failure.stage in (Stage.GREETING, Stage.HELLO) and failure.cause in (
        Cause.CLOSING,
        Cause.TRANSIENT,
    )


def is_broken_off(failure: Failure) -> bool:
    """Say whether a host that had greeted us broke off the transaction, and not for this mail.

    421 says that it does not serve anybody now. Without a reply that is as likely before it knows
    more of the mail than who sends it. Any other 4xx and 5xx is about the mail.
    """
    return (failure.cause is Cause.CLOSING and Stage.MAIL <= failure.stage <= Stage.DATA) or (
        failure.cause in (Cause.LOST, Cause.TIMEOUT) and failure.stage is Stage.MAIL
    )


def may_fall_back_to_clear(failure: Failure) -> bool:
    """Say whether a host is tried again without TLS, where TLS was opportunistic."""
    return failure.stage is Stage.TLS
