"""When mail with a deadline is tried again: what its retry schedule says, cut by its time.

Mail that is to be returned in time (RFC 2852, mode R) is tried last shortly before its time is
over; mail whose sender is to be told (mode N) is tried at the end of its time, so that it can be
told what came of it.

Pure: the caller passes `now`.  Called by: engine.judge.  Raises: nothing.
RFCs: RFC 2852.
"""

from __future__ import annotations

from postroom.core.terms import Terms

LAST_TRY_MIN_S, LAST_TRY_MAX_S, LAST_TRY_SHARE = 1.0, 30.0, 0.05
"""How long before the end of its time mail is tried last: a twentieth of it, within bounds."""


def last_try(terms: Terms, since: float) -> float:
    """Return when mail that is to be returned in time is tried last; its time began at `since`."""
    before_s = max(LAST_TRY_MIN_S, (terms.deliver_by - since) * LAST_TRY_SHARE)
    return terms.deliver_by - min(LAST_TRY_MAX_S, before_s)


def cut(terms: Terms, since: float, due: float | None, now: float) -> float | None:
    """Return when deferred mail is tried next where `due` is what its retry schedule says.

    None: it has no time left.
    """
    if due is None or not terms.deliver_by:
        return due
    if terms.by_mode == "R":
        last = last_try(terms, since)
        return None if now >= last else min(due, last)
    return min(due, terms.deliver_by) if now < terms.deliver_by else due
