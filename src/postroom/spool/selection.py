"""Whether a message is one that a Selection is about.

Pure: the caller passes `now`. Stores in SQL narrow down first and ask here for the rest,
so that all stores mean the same by a selection.

Called by: spool.memory, spool.embedded, the cluster's store.  Raises: AssertionError for an
unknown state.
"""

from __future__ import annotations

from postroom.core.message import RecipientState, RecipientStatus, StoredMessage
from postroom.spool.store import Selection

STATES = ("", "waiting", "deferred", "scheduled", "held")


def matches(selection: Selection, message: StoredMessage, now: float) -> bool:
    """Say whether all conditions hold for `message`, which is given whole.

    Conditions on the message must all hold, and there must be one waiting recipient for
    which those on domain, recipient and state hold together.
    """
    assert selection.state in STATES, selection.state
    age_s = now - message.arrived_at
    if (
        (selection.ids and message.id not in selection.ids)
        or (selection.older_than_s is not None and age_s < selection.older_than_s)
        or (selection.newer_than_s is not None and age_s > selection.newer_than_s)
        or (
            selection.reverse_path is not None
            and message.envelope.reverse_path.lower() != selection.reverse_path.lower()
        )
        or (selection.state and (selection.state == "held") != bool(message.hold))
    ):
        return False
    if selection.state and selection.state != "held":
        is_scheduled = bool(message.scheduled_until(now))
        if is_scheduled != (selection.state == "scheduled"):
            return False
    return any(
        status.state is RecipientState.WAITING
        and (not selection.recipient or recipient.address.lower() == selection.recipient.lower())
        and (not selection.domain or domain_matches(selection.domain, recipient.domain))
        and _state_matches(selection.state, status, now)
        for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True)
    )


def domain_matches(pattern: str, domain: str) -> bool:
    """Say whether a domain is meant: exactly, by "*suffix", or ".domain" and all below."""
    pattern, domain = pattern.lower(), domain.lower()
    if pattern.startswith("*"):
        return domain.endswith(pattern[1:])
    if pattern.startswith("."):
        return domain.endswith(pattern) or domain == pattern[1:]
    return domain == pattern


def _state_matches(state: str, status: RecipientStatus, now: float) -> bool:
    # Deferred: tried, and not due yet. Waiting: everything else that is not held.
    if state in ("waiting", "deferred"):
        return (state == "deferred") == (status.attempts > 0 and status.due_at > now)
    return True
