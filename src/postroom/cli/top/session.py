"""One session of `postroom top`: keys, the newest overview, the screen, until somebody leaves.

Owns what is shown and when the server is asked again: each interval, and at once where something
else is to be shown. A slow line is spared: lines are drawn where they changed, once for each
answer or key.

Called by: cli.top.command.  Raises: Stopped, KeyboardInterrupt.
"""

from __future__ import annotations

from postroom.cli.top.deeds import Deed
from postroom.cli.top.frame import frame, table_lines
from postroom.cli.top.sheet import Sheet, sheet_of
from postroom.cli.top.state import Ask, Explain, Quit, State
from postroom.cli.top.terminal import Terminal
from postroom.cli.top.watcher import News, Question, Watcher
from postroom.control.overview import Overview
from postroom.control.rates import History
from postroom.core.clock import Clock
from postroom.core.message import StoredMessage

EMPTY = Sheet((), (), 0)


class Session:
    """One session."""

    def __init__(
        self, terminal: Terminal, base: str, clock: Clock, interval_s: float, state: State
    ) -> None:
        self._terminal = terminal
        self._clock = clock
        self._interval_s = interval_s
        self._state = state
        self._watcher = Watcher(base, clock, terminal.wake)
        self._history = History()
        """Of all queues; while one is looked at alone it stands still."""
        self._histories: dict[int, History] = {0: self._history}
        self._overview: Overview | None = None
        self._messages: tuple[StoredMessage, ...] = ()
        self._answered: Question | None = None
        self._trouble = ""
        self._is_asking = False
        self._ask_at = float("-inf")

    def run(self) -> None:
        """Show and listen until somebody leaves."""
        try:
            while self._turn():
                pass
        finally:
            self._watcher.stop()

    def _turn(self) -> bool:
        now = self._clock.now()
        stands_still = self._state.is_paused and self._answered == self._question
        if not self._is_asking and now >= self._ask_at and not stands_still:
            self._is_asking, self._ask_at = True, now + self._interval_s
            self._watcher.ask(self._question)
        size = self._terminal.size()
        sheet = self._sheet()
        lines = frame(self._state, sheet, self._overview, self._histories_of(), size, self._trouble)
        self._terminal.show(lines, size)
        wait_s = max(0.0, self._ask_at - self._clock.now())
        if self._is_asking or stands_still:
            wait_s = self._interval_s
        for key in self._terminal.keys(wait_s):
            match self._state.press(key, sheet, table_lines(size)):
                case Quit():
                    return False
                case Ask():
                    self._ask_at = float("-inf")
                    sheet = EMPTY
                case Explain() as what:
                    self._watcher.ask(what)
                case Deed() as deed:
                    self._watcher.ask(deed)
                    self._ask_at = float("-inf")
        for news in self._watcher.news():
            self._take(news)
        return True

    @property
    def _question(self) -> Question:
        place = self._state.place
        return Question(self._state.args, place.queue, place.channel, place.site)

    def _histories_of(self) -> History:
        return self._histories.get(self._state.place.queue, self._history)

    def _take(self, news: News) -> None:
        if news.done:
            self._state.note = news.done
            return
        self._is_asking = False
        self._trouble = news.trouble
        if news.question is None or news.question != self._question:
            # Somebody has gone elsewhere meanwhile.
            self._ask_at = float("-inf") if not news.trouble else self._ask_at
            return
        if news.overview is not None:
            self._overview, self._messages = news.overview, news.messages
            self._answered = news.question
            self._histories.setdefault(news.question.queue, History()).add(news.overview)

    def _sheet(self) -> Sheet:
        if self._overview is None:
            return EMPTY
        state = self._state
        return sheet_of(
            state.place.tab, self._overview, self._histories_of(), state.sort, state.text,
            self._messages, is_reversed=state.is_reversed,
        )  # fmt: skip
