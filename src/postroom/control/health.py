"""Whether a server is well, and whether it takes mail, with the reasons.

    ready   it takes new mail: for load balancers, and for who starts it
    ok      it is ready, and nothing critical is stuck
    degraded  it is ready, and something critical is
    failing   it is not ready

Pure.  Called by: cli.health, api.access.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from postroom.control.answers import QueueStatus, Status
from postroom.control.overview import Overview

HEARTBEAT_AGE_MAX_S = 10.0
TAKING = ("running", "suspended")


class Health(msgspec.Struct, frozen=True):
    """How a server is: ok, degraded or failing. `reasons` say why it is not ok."""

    status: str
    ready: bool
    reasons: tuple[str, ...] = ()


def why_not_ready(status: Status) -> tuple[str, ...]:
    """Return why a server takes no mail; nothing where it does."""
    if status.stopping:
        return ("the server is stopping",)
    reasons = {f"queue{one.queue}": _why_not(one) for one in status.queues}
    if any(not reason for reason in reasons.values()):
        return ()
    return tuple(f"{name}: {reason}" for name, reason in reasons.items()) or ("there is no queue",)


def health_of(overview: Overview) -> Health:
    """Return how a server is."""
    queues = tuple(one.status for one in overview.queues)
    if not any(one.queue not in overview.silent and not _why_not(one) for one in queues):
        return Health("failing", False, tuple(_reasons(queues, overview)))
    critical = [one for one in overview.troubles if one.severity == "critical"]
    if overview.stopping:
        return Health("failing", False, ("the server is stopping",))
    said = tuple(f"{f'{one.kind} {one.name}'.rstrip()}: {one.reason}" for one in critical)
    return Health("degraded" if said else "ok", True, said)


def _reasons(queues: Iterable[QueueStatus], overview: Overview) -> list[str]:
    found = []
    for one in queues:
        reason = _why_not(one)
        if one.queue in overview.silent:
            reason = reason or "its worker does not answer"
        found.append(f"queue{one.queue}: {reason}")
    return found or ["there is no queue"]


def _why_not(queue: QueueStatus) -> str:
    """Return why a queue takes no new mail."""
    if not queue.queue_state.takes_mail:
        return f"it is {queue.queue_state.value}"
    if queue.state not in TAKING:
        return f"it is {queue.state}{f': {queue.detail}' if queue.detail else ''}"
    if queue.heartbeat_age_s >= HEARTBEAT_AGE_MAX_S:
        return "its worker does not answer"
    return "" if queue.room else "it has no room for new mail"
