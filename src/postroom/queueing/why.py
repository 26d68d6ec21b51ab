"""Why mail of a lane waits: what it is under, and which of it binds.

Owns the order in which reasons are named: what an operator holds, a site that rests, what the
queue may do, how far a site's window is open, then each limit with its use, and last from where
it may depart.

Pure.  Called by: queueing.scheduler, engine.why, cli.why.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.core.limits import Limit, LimitKey, format_rate
from postroom.core.terms import format_moment
from postroom.queueing.departures import Departures
from postroom.queueing.lane import Lane
from postroom.shaping.gate import Gate

NEXT = "nothing: its turn is next"
RESTS = "the site rests: it could not be used"
DELIVERY_SUSPENDED = "delivery is suspended"
QUEUE_HELD = "the queue is held"


def channel_suspended(name: str) -> str:
    """Return the words for a channel that an operator suspended."""
    return f"channel {name} is suspended by an operator: postroom channel resume {name}"


def channel_closed(name: str, opens_at: float) -> str:
    """Return the words for a channel outside its hours."""
    return f"the hours of channel {name}: its window opens at {format_moment(opens_at)}"


def held(of: str) -> str:
    """Return the words for what may have no attempts at all."""
    return f"{of} is held: its concurrency is 0"


def site_suspended(rule: str) -> str:
    """Return the words for a site that a reply rule suspends."""
    return f"the site is suspended by reply rule {rule}"


def waits_for_release(hold: str) -> str:
    """Return the words for a message that is held."""
    return f"its release: {hold}"


class LimitUse(msgspec.Struct, frozen=True):
    """One limit and what this queue uses of it.

    `of` names what it is of ("channel gmail"). `limit` is the most at once over all queues, None
    without bound; `granted` is what this queue has of it now, `in_flight` and `kept` what it
    uses. `rate` is "" or the rate, of messages or of new connections; `tokens` may be used at
    once.
    """

    of: str
    limit: int | None
    granted: int
    in_flight: int
    kept: int
    rate: str = ""
    tokens: int = 0


class LaneWhy(msgspec.Struct, frozen=True):
    """The mail of one channel for one site in one queue, and what keeps it from being tried.

    `waiting` are attempts that are ready, `window` is how many the site may have at once after
    what was seen of it. `rests_until` is 0, or when a site that could not be used is tried again,
    for `rest_reply`; `rest_rule` is the reply rule that suspends it, if one does. `binds` is what
    keeps the next attempt waiting; "" where nothing waits. `opens_at` is 0, or when a channel
    opens that is closed by its hours.
    """

    channel: str
    site: str
    in_flight: int
    waiting: int
    window: int
    limits: tuple[LimitUse, ...]
    binds: str
    rests_until: float = 0.0
    rest_reply: str = ""
    opens_at: float = 0.0
    rest_rule: str = ""


def lane_why(
    lane: Lane,
    limits: dict[LimitKey, Limit],
    busy: int,
    concurrency: int,
    now: float,
    departures: Departures | None = None,
    tenants: tuple[Gate, ...] = (),
) -> LaneWhy:
    """Return the reasons of one lane; `busy` and `concurrency` are those of the queue.

    `tenants` are the gates of those whose mail it is about.
    """
    rest = lane.resting(now)
    gates = lane.gates + tenants
    uses = tuple(use_of(gate, limits.get(gate.key, Limit()), now) for gate in gates)
    waiting = len(lane)
    binds = ""
    if waiting or rest is not None:
        departs = departures.why_not(lane, now) if departures is not None else ""
        binds = _binds(lane, gates, uses, busy, concurrency, now, departs)
    if departures is not None:
        uses += tuple(use_of(gate, limit, now) for gate, limit in departures.limits_of(lane, now))
    return LaneWhy(
        lane.key.channel, lane.key.site, lane.busy, waiting, lane.window, uses,
        binds,
        rest.until if rest is not None else 0.0,
        rest.reply if rest is not None else "",
        rest_rule=rest.rule if rest is not None else "",
    )  # fmt: skip


def use_of(gate: Gate, limit: Limit, now: float) -> LimitUse:
    """Return what a queue has and uses of a limit."""
    granted = gate.granted if limit.slots is not None else 0
    rate = format_rate(limit.rate) if limit.rate is not None else ""
    if limit.plan is not None:
        rate = f"{limit.plan.today(now)} today"
    return LimitUse(
        str(gate.key), limit.slots, granted, gate.busy, gate.kept, rate, max(0, gate.tokens)
    )


def _binds(
    lane: Lane, gates: tuple[Gate, ...], uses: tuple[LimitUse, ...], busy: int, concurrency: int,
    now: float, departs: str,
) -> str:  # fmt: skip
    if lane.channel.is_suspended:
        return channel_suspended(lane.channel.name)
    for use in uses:
        if use.limit == 0:
            return held(use.of)
    rest = lane.resting(now)
    if rest is not None:
        if rest.rule:
            return site_suspended(rest.rule)
        return RESTS
    if busy >= concurrency:
        return f"the queue makes {concurrency} attempts at once (delivery.concurrency)"
    if departs and not lane.busy:
        # Nothing is asked of the limits meanwhile, so that they look as if they were used up.
        return departs
    full: list[tuple[int, LimitUse]] = []
    for gate, use in zip(gates, uses, strict=True):
        if use.rate and not gate.has_token(now):
            return f"{use.of} may send {use.rate}, over all queues"
        if gate.busy >= gate.usable and gate.is_watched:
            return (
                f"{use.of} has refused more connections than it has now, over all queues; "
                f"this one has {use.granted} of them"
            )
        if gate.busy >= gate.usable and use.limit is not None:
            full.append((use.limit - use.granted, use))
    if full:
        # No more is asked of a limit than another one lets through: the one that is used up most.
        _, use = min(full, key=lambda one: one[0])
        return (
            f"{use.of} may have {use.limit} connections, over all queues; "
            f"this one has {use.granted} of them"
        )
    if lane.busy >= lane.window:
        return f"the site is met slowly: {lane.window} at once, one more for each that goes well"
    return departs or NEXT
