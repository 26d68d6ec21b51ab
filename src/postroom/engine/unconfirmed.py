"""Mail whose sender has not been told yet: kept and held, until it is confirmed.

Who must be able to repeat a request safely (the HTTP API, by an Idempotency-Key) hands mail
over in two steps, as a message that moves between queues does (engine.transit):

    sender's record                      queue
    1. ids and queue written             absent
    2. as before                         held: "handed over, not confirmed yet"
    3. kept: this is when it is accepted as before
    4. as before                         live, or held as the policy file wished

Put again before 3, a message is still there and is not kept twice, whatever died meanwhile;
without the hold it might have been delivered and forgotten, and would be sent again. After 3
nobody puts it again. Until 3 it may be dropped: nobody was told that it is kept.

Owns the form of that reason.  Called by: ingress.local, engine.steering.  Raises: nothing.
"""

from __future__ import annotations

REASON = "handed over, not confirmed yet"
_BEFORE = f"{REASON}; then: "


def unconfirmed(then: str = "") -> str:
    """Return the reason of the hold; `then` is what it is held for once it is confirmed."""
    return f"{_BEFORE}{then}" if then else REASON


def is_unconfirmed(hold: str) -> bool:
    """Say whether a message is held because it is not confirmed."""
    return hold == REASON or hold.startswith(_BEFORE)


def held_then(hold: str) -> str:
    """Return why a message is held once it is confirmed; "" where it is not."""
    assert is_unconfirmed(hold)
    return hold[len(_BEFORE) :] if hold.startswith(_BEFORE) else ""
