"""The lines of the screen of `postroom top`, for any size from 40x8 on.

Pure.  Called by: cli.top.session.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from postroom.cli.output import printable
from postroom.cli.top.cells import age, number, rate, trend, used
from postroom.cli.top.sheet import BAD, MESSAGES, QUIET, TABS, WARN, Column, Row, Sheet
from postroom.cli.top.state import State
from postroom.control.overview import Overview
from postroom.control.rates import SERVER, History

HEAD_LINES = 4
FOOT_LINES = 2
COLUMN_CELLS_MAX = 30
TEXT_CELLS_LEAST = 12
STYLES = {BAD: "bold red", WARN: "yellow", QUIET: "dim"}
HELP = """\
1 to 7, Tab   queues, channels, sites, relays, troubles, sources, tenants
up, down, j, k  select a row; PgUp, PgDn, g and G go further
Enter, right  go down: queue, channels, sites, messages, why one waits
Esc, left     go back up; where there is no way up: clear the filter
/             only rows with a text; sites are found among all there are
s, r          another order; the other way round
h             hold queue or message, suspend a channel, pause a source
u             enable queue, resume channel, site, source; release message
p             have a site, host or message tried at once
space         stand still, and go on
?, q          this help; leave

USED/MAX      attempts in flight, and how many may be, over all queues
WIN           attempts a site is trusted with now, after what was seen
WAIT, DEFER, SCHED, HELD, QUAR
              recipients due, put off, for later, held, quarantined
WANT, REAL    the part of its pool a relay should take, and took"""


def frame(
    state: State,
    sheet: Sheet,
    overview: Overview | None,
    history: History,
    size: tuple[int, int],
    trouble: str = "",
) -> list[Text]:
    """Return exactly as many lines as the screen has; `trouble` is why nothing newer is shown."""
    width, height = size
    if overview is None:
        lines = [Text(trouble or "asking the server ...")]
    else:
        lines = _head(overview, history, width)
        lines.append(_tabs(state))
        if state.has_help:
            lines += [Text(line) for line in HELP.splitlines()]
        else:
            lines += _table(state, sheet, width, height - HEAD_LINES - FOOT_LINES)
    room = height - FOOT_LINES
    lines = lines[:room] + [Text()] * (room - len(lines))
    lines += [_foot(state, sheet, overview, trouble), _prompt(state)]
    for line in lines:
        line.truncate(width, overflow="crop")
    return lines[:height]


def table_lines(size: tuple[int, int]) -> int:
    """Return how many rows a screen has room for."""
    return max(1, size[1] - HEAD_LINES - FOOT_LINES)


def _head(overview: Overview, history: History, width: int) -> list[Text]:
    at = datetime.fromtimestamp(overview.at).astimezone().strftime("%H:%M:%S")
    first = Text(f"postroom {overview.version}  {overview.hostname}  ", "bold")
    first.append(f"up {age(overview.at - overview.started_at) or '0s'}  ", "none")
    is_well = overview.delivery == "running" and not overview.stopping
    word = "stopping" if overview.stopping else f"delivery {overview.delivery}"
    first.append(word, "none" if is_well else "bold red")
    first.append(" " * max(1, width - first.cell_len - len(at)) + at)
    queues = [one.status for one in overview.queues]
    now, series = history.rate(*SERVER), history.series(*SERVER)
    stored = [one.stored for one in overview.queues]
    recipients = sum(one.recipients for one in queues)
    in_flight, most = (sum(one.in_flight for one in queues), sum(one.concurrency for one in queues))
    mark = f", one more above load {overview.load_mark:g}" if overview.is_growing else ""
    load = max((one.load for one in overview.queues), default=0.0)
    second = Text(
        f"queues {overview.queues_count}/{overview.queues_max}{mark}  load {load:.2f}  "
        f"in flight {used(in_flight, most)}  in {rate(now.into)}/s  out {rate(now.out)}/s "
        f"{trend(series)}"
    )
    deferred, held = sum(one.deferred for one in stored), sum(one.held for one in stored)
    oldest = age(max((one.oldest_s for one in overview.queues), default=0.0))
    third = Text(
        f"mail {number(sum(one.messages for one in queues))} messages, {number(recipients)} "
        f"recipients: {number(deferred)} deferred, {number(held)} held"
        f"{f'; oldest waiting {oldest}' if oldest else ''}"
    )
    return [first, second, third]


def _tabs(state: State) -> Text:
    line = Text()
    for place, tab in enumerate(TABS, 1):
        style = "reverse" if tab == state.place.tab and not state.way else "none"
        line.append(f"{place} {tab}", style)
        line.append("  ")
    if state.way:
        line = Text("< Esc  ")
        line.append(f"{state.place.tab} of {state.place.words}", "reverse")
    return line


def _table(state: State, sheet: Sheet, width: int, height: int) -> list[Text]:
    columns = chosen(sheet, width)
    widths = _widths(sheet, columns, width)
    heads = Text(" ".join(
        _cell(sheet.columns[place].head, size, is_right=sheet.columns[place].is_right)
        for place, size in zip(columns, widths, strict=True)
    ), "bold")  # fmt: skip
    lines = [heads]
    rows = max(1, height - 1)
    at = state.index(sheet)
    state.top = min(max(state.top, at - rows + 1), at)
    state.top = max(0, min(state.top, len(sheet.rows) - rows))
    for place, row in enumerate(sheet.rows[state.top : state.top + rows], state.top):
        lines.append(_line(row, sheet.columns, columns, widths, is_selected=place == at))
    if not sheet.rows:
        what = f"no row has {state.text!r}" if state.text else "nothing to show"
        lines.append(Text("no trouble is known" if state.place.tab == "troubles" else what, "dim"))
    return lines


def chosen(sheet: Sheet, width: int) -> list[int]:
    """Return the columns that fit: those of the lowest ranks, and the text at the end."""
    places = list(range(len(sheet.columns)))
    while len(places) > 2:
        sizes = [_size(sheet, place) for place in places]
        last = min(sizes[-1], TEXT_CELLS_LEAST) if _is_text(sheet, places[-1]) else sizes[-1]
        if sum(sizes[:-1]) + last + len(places) - 1 <= width:
            break
        worst = max(places[1:], key=lambda place: (sheet.columns[place].rank, place))
        if not sheet.columns[worst].rank:
            break
        places.remove(worst)
    return places


def _is_text(sheet: Sheet, place: int) -> bool:
    return place == len(sheet.columns) - 1 and not sheet.columns[place].is_right


def _size(sheet: Sheet, place: int) -> int:
    cells = [sheet.columns[place].head, *(row.cells[place] for row in sheet.rows)]
    return min(max(map(cell_len, cells)), COLUMN_CELLS_MAX)


def _widths(sheet: Sheet, places: Sequence[int], width: int) -> list[int]:
    sizes = [_size(sheet, place) for place in places]
    left = width - sum(sizes[:-1]) - len(sizes) + 1
    if _is_text(sheet, places[-1]):
        sizes[-1] = max(TEXT_CELLS_LEAST, left)
    elif left < sizes[-1]:
        sizes[0] = max(8, sizes[0] - (sizes[-1] - left))
    return sizes


def _cell(text: str, size: int, *, is_right: bool) -> str:
    text = printable(text)
    if cell_len(text) > size:
        return set_cell_size(text, max(0, size - 1)) + "…"
    return " " * (size - cell_len(text)) + text if is_right else set_cell_size(text, size)


def _line(
    row: Row, heads: Sequence[Column], places: Sequence[int], widths: Sequence[int], *,
    is_selected: bool,
) -> Text:  # fmt: skip
    cells = [
        _cell(row.cells[place], size, is_right=heads[place].is_right)
        for place, size in zip(places, widths, strict=True)
    ]
    style = STYLES.get(row.look, "none")
    return Text(" ".join(cells), f"{style} reverse" if is_selected else style)


def _foot(state: State, sheet: Sheet, overview: Overview | None, trouble: str) -> Text:
    if overview is not None and trouble:
        return Text(f"not up to date: {printable(trouble)}", "bold red")
    if state.note:
        return Text(printable(state.note), "bold")
    if overview is not None and state.place.tab == "troubles":
        command = sheet.rows[state.index(sheet)].value.command if sheet.rows else ""
        return Text(printable(f"try: {command}"), "bold") if command else Text()
    if overview is not None and overview.troubles:
        first = overview.troubles[0]
        what = f"{first.kind} {first.name}".rstrip()
        style = STYLES[BAD] if first.severity == "critical" else STYLES[WARN]
        if first.severity == "notice":
            style = "none"
        more = len(overview.troubles) - 1
        return Text(printable(f"{f'+{more}  ' if more else ''}{what}: {first.reason}"), style)
    return Text()


def _prompt(state: State) -> Text:
    if state.deed is not None:
        return Text(f"{printable(state.deed.question)} (y/n)", "bold yellow")
    if state.typing is not None:
        return Text(f"/{state.typing}_", "bold")
    words = [f"order {state.sort}{' reversed' if state.is_reversed else ''}"]
    if state.text:
        words.append(f"only {state.text!r}")
    if state.is_paused:
        words.append("STANDING STILL")
    keys = "? help  q quit  / filter  s order  Enter down  h hold  u resume"
    if state.place.tab in ("sites", "relays", MESSAGES):
        keys += "  p try now"
    return Text(f"[{', '.join(words)}]  {keys}", "dim")
