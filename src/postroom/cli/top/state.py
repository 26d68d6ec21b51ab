"""Where somebody is in `postroom top`, and what a key means there.

Owns the tab, the way down (queue, channel, site, messages), order, filter, the selected row, the
question that waits for an answer. `press` changes it and returns what is to be asked or done.

Pure.  Called by: cli.top.session.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from postroom.cli.top.deeds import Deed, hold, purge, resume
from postroom.cli.top.sheet import MESSAGES, SORTS, TABS, Sheet
from postroom.control.commands import OverviewArgs
from postroom.control.overview import ChannelView, QueueView, SiteView, Trouble
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage

TEXT_MAX = 60
SITES_SENT = 200
"""More rows than a terminal has lines, so that scrolling needs no new question."""


class Quit(NamedTuple):
    """Leave."""


class Ask(NamedTuple):
    """Ask the server anew, soon: something else is to be shown."""


class Explain(NamedTuple):
    """Say why a message waits."""

    id: QueueId


Wish = Quit | Ask | Explain | Deed | None


class Place(NamedTuple):
    """A step on the way down: what is shown, and of what."""

    tab: str
    queue: int = 0
    channel: str = ""
    site: str = ""

    @property
    def words(self) -> str:
        """Say it: "queue1 > channel bulk"."""
        words = [f"queue{self.queue}"] if self.queue else []
        words += [f"channel {self.channel}"] if self.channel else []
        words += [self.site] if self.site else []
        return " > ".join(words)


class State:
    """The state of one session."""

    def __init__(self, tab: str = TABS[0]) -> None:
        self.place = Place(tab)
        self.way: list[tuple[Place, str]] = []
        """Where Esc leads back to, with the row that was selected."""
        self.sorts: dict[str, int] = {}
        self.is_reversed = False
        self.text = ""
        self.typing: str | None = None
        """The filter while it is typed."""
        self.deed: Deed | None = None
        """What waits for a yes."""
        self.selected = ""
        self.top = 0
        """The first row that is shown."""
        self.note = ""
        self.has_help = False
        self.is_paused = False

    @property
    def sort(self) -> str:
        """The order of the tab."""
        sorts = SORTS[self.place.tab]
        return sorts[self.sorts.get(self.place.tab, 0) % len(sorts)][0]

    @property
    def args(self) -> OverviewArgs:
        """What to ask the workers for."""
        is_sites = self.place.tab == "sites"
        return OverviewArgs(
            order=self.sort if is_sites else "trouble",
            limit=SITES_SENT,
            text=self.text if is_sites else "",
            channel=self.place.channel if is_sites else "",
        )

    def index(self, sheet: Sheet) -> int:
        """Return the place of the selected row; the first where it is gone."""
        keys = [row.key for row in sheet.rows]
        return keys.index(self.selected) if self.selected in keys else 0

    def press(self, key: str, sheet: Sheet, lines: int) -> Wish:
        """Take a key; `lines` is how many rows the screen has."""
        if self.deed is not None:
            deed, self.deed = self.deed, None
            if key.lower() == "y":
                self.note = "..."
                return deed
            self.note = "nothing was changed"
            return None
        if self.typing is not None:
            return self._type(key)
        if self.has_help:
            self.has_help = False
            return Quit() if key == "q" else None
        self.note = ""
        if key in _MOVES:
            self._move(_MOVES[key](self.index(sheet), lines, len(sheet.rows)), sheet)
            return None
        return self._command(key, sheet)

    def _command(self, key: str, sheet: Sheet) -> Wish:
        match key:
            case "q":
                return Quit()
            case "?":
                self.has_help = True
            case " ":
                self.is_paused = not self.is_paused
            case "/":
                self.typing = self.text
            case "tab" | "backtab":
                step = 1 if key == "tab" else -1
                at = TABS.index(self.place.tab) if self.place.tab in TABS else 0
                return self._go(Place(TABS[(at + step) % len(TABS)]))
            case "s":
                self.sorts[self.place.tab] = self.sorts.get(self.place.tab, 0) + 1
                self.selected, self.top = "", 0
                return Ask()
            case "r":
                self.is_reversed = not self.is_reversed
            case "enter" | "right":
                return self._down(sheet)
            case "esc" | "left" | "backspace":
                return self._up()
            case "h" | "u" | "p":
                return self._deed(key, sheet)
            case _ if key.isdigit() and 0 < int(key) <= len(TABS):
                return self._go(Place(TABS[int(key) - 1]))
        return None

    def _type(self, key: str) -> Wish:
        assert self.typing is not None
        if key == "enter":
            self.text, self.typing = self.typing, None
            self.selected, self.top = "", 0
            return Ask()
        if key == "esc":
            self.typing = None
        elif key == "backspace":
            self.typing = self.typing[:-1]
        elif len(key) == 1 and key.isprintable():
            self.typing = (self.typing + key)[:TEXT_MAX]
        return None

    def _move(self, at: int, sheet: Sheet) -> None:
        if sheet.rows:
            self.selected = sheet.rows[max(0, min(at, len(sheet.rows) - 1))].key

    def _go(self, place: Place) -> Wish:
        self.place, self.way = place, []
        self.text, self.selected, self.top, self.is_reversed = "", "", 0, False
        return Ask()

    def _down(self, sheet: Sheet) -> Wish:
        if not sheet.rows:
            return None
        row = sheet.rows[self.index(sheet)]
        place = self.place
        match row.value:
            case QueueView():
                place = Place("channels", row.value.queue)
            case ChannelView():
                place = Place("sites", place.queue, row.value.name)
            case SiteView():
                place = Place(MESSAGES, place.queue, row.value.channel, row.value.site)
            case StoredMessage():
                self.note = "..."
                return Explain(row.value.id)
            case Trouble():
                self.note = row.value.command or row.value.reason
                return None
            case _:
                return None
        self.way.append((self.place, row.key))
        self.place = place
        self.text, self.selected, self.top = "", "", 0
        return Ask()

    def _up(self) -> Wish:
        if self.text:
            self.text = ""
            return Ask()
        if not self.way:
            return None
        self.place, self.selected = self.way.pop()
        self.top = 0
        return Ask()

    def _deed(self, key: str, sheet: Sheet) -> Wish:
        value = sheet.rows[self.index(sheet)].value if sheet.rows else None
        self.deed = {"h": hold, "u": resume, "p": purge}[key](value)
        if self.deed is None:
            self.note = "there is nothing of the kind to be done here: ? for help"
        return None


_MOVES: dict[str, Callable[[int, int, int], int]] = {
    "up": lambda at, lines, count: at - 1,
    "k": lambda at, lines, count: at - 1,
    "down": lambda at, lines, count: at + 1,
    "j": lambda at, lines, count: at + 1,
    "pageup": lambda at, lines, count: at - lines,
    "pagedown": lambda at, lines, count: at + lines,
    "home": lambda at, lines, count: 0,
    "g": lambda at, lines, count: 0,
    "end": lambda at, lines, count: count - 1,
    "G": lambda at, lines, count: count - 1,
}
