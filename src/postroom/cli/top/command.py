"""The command `postroom top`: live in a terminal; once, in plain text; or as JSON lines.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import os
import select
import sys

from postroom.cli.output import OK, USAGE, fail, print_json, print_table
from postroom.cli.reach import Spool
from postroom.cli.top.sheet import SORTS, TABS, Sheet, sheet_of
from postroom.control.commands import PAGE_MAX, OverviewArgs
from postroom.control.gather import gather
from postroom.control.orders import SITE_ORDERS
from postroom.control.overview import Overview
from postroom.control.rates import History
from postroom.core.clock import SystemClock
from postroom.core.errors import ConfigurationError
from postroom.core.units import format_duration, parse_duration

INTERVAL_LEAST_S = 1.0
INTERVAL_MOST_S = 3600.0
EMPTY_TABS = {"sources", "tenants", "troubles", "relays", "sites"}
"""Not printed where they have no row."""


def top(options: argparse.Namespace) -> int:
    """`top`."""
    interval_s = _interval_s(options.interval)
    if not 0 <= options.sites <= PAGE_MAX:
        fail(f"--sites {options.sites}: expected 0 to {PAGE_MAX}", "--sites 100", USAGE)
    if options.sort not in SITE_ORDERS:
        fail(f"there is no order {options.sort}", f"one of {', '.join(SITE_ORDERS)}", USAGE)
    base = Spool(options).base
    if options.json:
        return _json(base, interval_s, options)
    is_plain = os.environ.get("TERM", "") in ("", "dumb")
    if options.once or is_plain or not (os.isatty(0) and os.isatty(1)):
        return _once(base, options)
    return _live(base, interval_s, options)


def _live(base: str, interval_s: float, options: argparse.Namespace) -> int:
    from postroom.cli.top.session import Session
    from postroom.cli.top.state import State
    from postroom.cli.top.terminal import Stopped, Terminal

    clock = SystemClock()
    gather(base, clock)  # where there is no server this is the moment to say so
    state = State(options.tab)
    state.sorts["sites"] = list(SITE_ORDERS).index(options.sort)
    state.text = options.filter
    try:
        with Terminal(sys.stdin.fileno(), sys.stdout.fileno()) as terminal:
            Session(terminal, base, clock, interval_s, state).run()
    except Stopped:
        return OK
    return OK


def _json(base: str, interval_s: float, options: argparse.Namespace) -> int:
    """Print an overview as a line of JSON, once or each interval."""
    while True:
        print_json(gather(base, SystemClock(), _args(options)))
        sys.stdout.flush()
        if options.once:
            return OK
        _wait(interval_s)


def _once(base: str, options: argparse.Namespace) -> int:
    """Print all tabs as text; a moment passes, so that there are rates."""
    clock, history = SystemClock(), History()
    history.add(gather(base, clock, _args(options)))
    _wait(INTERVAL_LEAST_S)
    overview = gather(base, clock, _args(options))
    history.add(overview)
    _print_head(overview)
    for tab in TABS:
        sort = options.sort if tab == "sites" else SORTS[tab][0][0]
        sheet = sheet_of(tab, overview, history, sort, options.filter)
        if sheet.rows or tab not in EMPTY_TABS:
            _print_sheet(tab, sheet)
    return OK


def _print_head(overview: Overview) -> None:
    up = format_duration(max(1.0, overview.at - overview.started_at))
    print(
        f"postroom {overview.version}, {overview.hostname}, up {up}, delivery {overview.delivery}"
    )
    mark = f"; one more is made above load {overview.load_mark:g}" if overview.is_growing else ""
    print(f"queues {overview.queues_count} of at most {overview.queues_max}{mark}")


def _print_sheet(tab: str, sheet: Sheet) -> None:
    rest = (
        f" (the first {len(sheet.rows)} of {sheet.total})" if sheet.total > len(sheet.rows) else ""
    )
    print(f"\n{tab}{rest}:")
    heads = [column.head for column in sheet.columns]
    print_table(heads, [row.cells for row in sheet.rows])
    if tab == "troubles":
        for row in sheet.rows:
            if row.value.command:
                print(f"  try: {row.value.command}")


def _args(options: argparse.Namespace) -> OverviewArgs:
    return OverviewArgs(order=options.sort, limit=options.sites, text=options.filter)


def _wait(seconds: float) -> None:
    select.select([], [], [], seconds)


def _interval_s(text: str) -> float:
    try:
        seconds = parse_duration(text if not text.replace(".", "").isdigit() else f"{text}s")
    except (ValueError, ConfigurationError):
        seconds = 0.0
    if not INTERVAL_LEAST_S <= seconds <= INTERVAL_MOST_S:
        fail(f"--interval {text}: expected from 1s to 1h", "--interval 5s", USAGE)
    return seconds
