"""The tabs of `postroom top`: which columns each has, and its rows from an overview.

A column has a rank: where the terminal is narrow the columns of the highest ranks are left out.
The last column is a text that gets what room is left.

Pure.  Called by: cli.top.state, cli.top.frame, cli.top.command.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from postroom.cli.top.cells import age, number, rate, share, trend, used
from postroom.cli.view_arguments import TABS as TABS
from postroom.control.orders import SITE_ORDERS
from postroom.control.overview import (
    ChannelView,
    HostView,
    Overview,
    QueueView,
    SiteView,
)
from postroom.control.rates import History, host_name, site_name
from postroom.core.message import StoredMessage
from postroom.queueing.why import NEXT
from postroom.spool.selection import state_of

MESSAGES = "messages"
"""No tab of its own: those of one site."""
BAD, WARN, QUIET, GOOD = "bad", "warn", "quiet", ""


class Column(NamedTuple):
    """One column: its heading, its rank, whether its cells stand to the right."""

    head: str
    rank: int = 0
    is_right: bool = False


class Row(NamedTuple):
    """One row: what it is of, its cells, how it looks, and the value it was made from."""

    key: str
    cells: tuple[str, ...]
    look: str
    value: Any


class Sheet(NamedTuple):
    """One tab at one moment."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: int


def _right(head: str, rank: int = 0) -> Column:
    return Column(head, rank, is_right=True)


_OUT = (_right("OUT/S", 1), Column("TREND", 5))
_RATES = (_right("IN/S", 2), *_OUT)
_BACKLOG = (_right("WAIT"), _right("DEFER", 1), _right("SCHED", 6), _right("HELD", 4))

COLUMNS: dict[str, tuple[Column, ...]] = {
    "queues": (
        Column("QUEUE"), Column("STATE"), _right("LOAD"), _right("USED/MAX"), *_RATES, *_BACKLOG,
        _right("QUAR", 7), _right("OLDEST"), _right("SESS", 6), _right("ROOM", 7),
        Column("NOTE", 3),
    ),
    "channels": (
        Column("CHANNEL"), Column("STATE"), _right("USED/MAX"), *_RATES, *_BACKLOG,
        _right("OLDEST"), _right("SITES", 6), Column("WHAT BINDS", 3),
    ),
    "sites": (
        Column("SITE"), Column("CHANNEL", 4), Column("STATE"), _right("USED/MAX"),
        _right("WIN", 5), *_OUT, _right("MAIL"), _right("DEFER", 6), _right("OLDEST"),
        _right("NEXT", 3), Column("WHY", 2),
    ),
    "relays": (
        Column("HOST"), Column("ROUTE", 1), Column("STATE"), _right("WANT"), _right("REAL"),
        *_OUT, _right("CONN", 3), _right("TIER", 6), _right("SINCE", 4), Column("LAST ERROR", 2),
    ),
    "troubles": (
        Column("WORST"), Column("WHAT"), _right("MAIL"), Column("WHY", 1),
    ),
    "sources": (
        Column("SOURCE"), Column("STATE"), _right("USED/MAX"), Column("RATE", 4),
        Column("CHANNELS", 5), Column("WHY", 2),
    ),
    "tenants": (
        Column("TENANT"), _right("WEIGHT", 3), _right("USED/MAX"), _right("READY"),
        Column("RATE", 2),
    ),
    MESSAGES: (
        Column("ID"), _right("AGE"), Column("STATE"), _right("TRIES"), _right("SIZE", 4),
        Column("RECIPIENT"), Column("LAST REPLY", 2),
    ),
}  # fmt: skip

_Sort = tuple[str, Callable[[Any], Any]]
SORTS: dict[str, tuple[_Sort, ...]] = {
    "queues": (
        ("name", lambda one: -one.queue),
        ("load", lambda one: one.load),
        ("backlog", lambda one: one.stored.backlog or one.status.recipients),
        ("oldest", lambda one: one.oldest_s),
    ),
    "channels": (
        ("trouble", lambda one: (one.state != "running", bool(_binds(one)), one.ready)),
        ("backlog", lambda one: max(one.stored.backlog, one.ready)),
        ("flight", lambda one: one.in_flight),
        ("oldest", lambda one: one.oldest_s),
        ("done", lambda one: one.done.delivered + one.done.failed),
    ),
    # Those of control.orders: the workers choose which sites are sent.
    "sites": tuple((name, lambda one: 0) for name in SITE_ORDERS),
    "relays": (
        ("route", lambda one: 0),
        ("trouble", lambda one: one.state != "closed"),
        ("done", lambda one: one.delivered),
    ),
    "troubles": (("worst", lambda one: 0), ("mail", lambda one: one.mail)),
    "sources": (("name", lambda one: 0), ("flight", lambda one: one.in_flight)),
    "tenants": (("busy", lambda one: 0), ("ready", lambda one: one.ready)),
    MESSAGES: (("oldest", lambda one: -one.arrived_at), ("newest", lambda one: one.arrived_at)),
}  # fmt: skip


def sheet_of(
    tab: str,
    overview: Overview,
    history: History,
    sort: str,
    text: str = "",
    messages: Sequence[StoredMessage] = (),
    *,
    is_reversed: bool = False,
) -> Sheet:
    """Return the rows of a tab that have a text in them, in order."""
    values: Sequence[Any]
    total: int | None = None
    row: Callable[[Any], Row]
    match tab:
        case "queues":
            values, row = overview.queues, lambda one: _queue(one, history)
        case "channels":
            values, row = overview.channels, lambda one: _channel(one, history)
        case "sites":
            values, row = overview.sites, lambda one: _site(one, history, overview.at)
            total = overview.sites_total
        case "relays":
            values, row = overview.hosts, lambda one: _host(one, history, overview.at)
        case "troubles":
            values, row = overview.troubles, _trouble
        case "sources":
            values, row = overview.sources, _source
        case "tenants":
            values, row = overview.tenants, _tenant
            total = overview.tenants_total
        case _:
            values, row = messages, lambda one: _message(one, overview.at)
    rank = dict(SORTS[tab])[sort]
    ordered = sorted(values, key=rank, reverse=True)
    if is_reversed:
        ordered.reverse()
    rows = [row(one) for one in ordered]
    if text and tab != "sites":  # sites are chosen by the workers, of all that there are
        rows = [one for one in rows if text.lower() in " ".join((one.key, *one.cells)).lower()]
    return Sheet(COLUMNS[tab], tuple(rows), len(rows) if total is None or text else total)


def _rates(history: History, kind: str, name: str) -> tuple[str, str, str]:
    last = history.rate(kind, name)
    return rate(last.into), rate(last.out), trend(history.series(kind, name))


def _queue(one: QueueView, history: History) -> Row:
    status, stored = one.status, one.stored
    state = status.state if status.queue_state == "enabled" else status.queue_state.value
    look = GOOD
    if not one.is_asked and status.pid:
        state = "silent"
    if state in ("failed", "silent"):
        look = BAD
    elif state != "running" or not status.room:
        look = WARN
    note = one.failure or status.detail or (f"busiest: {one.busiest}" if one.busiest else "")
    waiting = number(stored.waiting) if one.counted_at else number(status.recipients)
    backlog = (waiting, number(stored.deferred), number(stored.scheduled), number(stored.held))
    return Row(
        f"queue{one.queue}",
        (
            f"queue{one.queue}", state, f"{one.load:.2f}",
            used(status.in_flight, status.concurrency),
            *_rates(history, "queue", str(one.queue)), *backlog, number(stored.quarantined),
            age(one.oldest_s), number(status.sessions), f"{status.room >> 30}G", note,
        ),
        look, one,
    )  # fmt: skip


def _binds(one: ChannelView | SiteView) -> str:
    return one.binds if one.binds != NEXT else ""


def _channel(one: ChannelView, history: History) -> Row:
    stored = one.stored
    why = one.reason or _binds(one)
    look = GOOD if one.state == "running" else WARN
    if one.state == "running" and not one.in_flight and not stored.backlog:
        look = QUIET
    backlog = (
        number(max(stored.waiting, one.in_flight + one.ready)), number(stored.deferred),
        number(stored.scheduled), number(stored.held),
    )  # fmt: skip
    return Row(
        one.name,
        (
            one.name, one.state, used(one.in_flight, one.limit),
            *_rates(history, "channel", one.name), *backlog, age(one.oldest_s),
            number(one.sites), why,
        ),
        look, one,
    )  # fmt: skip


def _site(one: SiteView, history: History, now: float) -> Row:
    look = {"up": GOOD, "full": GOOD, "resting": BAD, "suspended": BAD}.get(one.state, WARN)
    why = one.reply or _binds(one) or (one.error.reply if one.error is not None else "")
    return Row(
        f"{one.channel} {one.site}",
        (
            one.site, one.channel, one.state, used(one.in_flight, one.limit), number(one.window),
            *_rates(history, "site", site_name(one.channel, one.site))[1:], number(one.recipients),
            number(one.done.deferred), age(one.oldest_s),
            age(one.next_at - now) if one.next_at else "", why,
        ),
        look, one,
    )  # fmt: skip


def _host(one: HostView, history: History, now: float) -> Row:
    look = {"closed": GOOD, "open": BAD}.get(one.state, WARN)
    state = {"closed": "up", "open": "DOWN", "half-open": "probed", "ramp": "spared"}[one.state]
    return Row(
        f"{one.route} {one.host}",
        (
            one.host, one.route or "(mx)", state, share(one.share), share(one.real),
            *_rates(history, "host", host_name(one.route, one.host))[1:], number(one.connections),
            str(one.tier or ""), age(now - one.since) if one.since else "", one.error,
        ),
        look, one,
    )  # fmt: skip


def _trouble(one: Any) -> Row:
    look = {"critical": BAD, "warning": WARN}.get(one.severity, GOOD)
    what = f"{one.kind} {one.name}" if one.name else one.kind
    mail = number(one.mail) if one.mail else ""
    return Row(
        f"{one.kind} {one.name} {one.reason}", (one.severity, what, mail, one.reason), look, one
    )


def _source(one: Any) -> Row:
    status = one.status
    why = "; ".join(str(pause) for pause in status.pauses)
    look = GOOD if status.state == "ready" and not why else WARN
    return Row(
        one.name,
        (
            one.name, status.state, used(one.in_flight, status.concurrency), status.rate,
            ", ".join(status.channels), why,
        ),
        look, one,
    )  # fmt: skip


def _tenant(one: Any) -> Row:
    look = WARN if one.limit == 0 else GOOD
    return Row(
        one.name,
        (one.name, str(one.weight), used(one.in_flight, one.limit), number(one.ready), one.rate),
        look, one,
    )  # fmt: skip


def _message(one: StoredMessage, now: float) -> Row:
    left = [
        (recipient, status)
        for recipient, status in zip(one.envelope.recipients, one.statuses, strict=True)
        if not status.state.is_final
    ]
    recipient, status = left[0] if left else (one.envelope.recipients[0], one.statuses[0])
    state = state_of(one, status, now)
    more = f" +{len(left) - 1}" if len(left) > 1 else ""
    return Row(
        one.id,
        (
            one.id, age(now - one.arrived_at), state, str(status.attempts),
            number(one.size_octets), recipient.address + more, one.hold or status.reply,
        ),
        WARN if one.hold else GOOD, one,
    )  # fmt: skip
