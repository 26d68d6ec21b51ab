"""The watcher of `postroom top`: asks the server, and does what is wished, in a thread of its own.

Keys are heard and the screen is drawn meanwhile, however slow the server or a worker is.

Owns the thread; what it finds is in `newest`, and `on_news` tells that there is something.
Called by: cli.top.session.  Raises: nothing; what went wrong is in `trouble`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import msgspec

from postroom.cli.top.deeds import Deed, do, explain
from postroom.cli.top.messages import messages_of
from postroom.cli.top.state import Explain
from postroom.control.commands import OverviewArgs
from postroom.control.gather import gather
from postroom.control.overview import Overview
from postroom.core.clock import Clock
from postroom.core.errors import PostroomError
from postroom.core.message import StoredMessage


class Question(msgspec.Struct, frozen=True):
    """What is to be shown: of one queue or (0) all; with the messages of a site where named."""

    args: OverviewArgs
    queue: int = 0
    channel: str = ""
    site: str = ""


class News(msgspec.Struct, frozen=True):
    """What was found out: an answer to a question, or what became of a deed."""

    question: Question | None = None
    overview: Overview | None = None
    messages: tuple[StoredMessage, ...] = ()
    trouble: str = ""
    done: str = ""


class Watcher:
    """Asks and does."""

    def __init__(self, base: str, clock: Clock, on_news: Callable[[], None]) -> None:
        self._base = base
        self._clock = clock
        self._on_news = on_news
        self._work: queue.SimpleQueue[Question | Explain | Deed | None] = queue.SimpleQueue()
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._queues: tuple[int, ...] = ()
        # It ends with the process: a server that hangs must not keep a person from leaving.
        self._thread = threading.Thread(target=self._run, name="postroom-top", daemon=True)
        self._thread.start()

    def ask(self, work: Question | Explain | Deed) -> None:
        """Ask, or do, after what was wished before."""
        self._work.put(work)

    def stop(self) -> None:
        """Do nothing more after what is under way."""
        self._work.put(None)

    def news(self) -> list[News]:
        """Return what was found out since this was asked last."""
        found = []
        while not self._news.empty():
            found.append(self._news.get())
        return found

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                news = self._do(work)
            except (PostroomError, OSError) as error:
                said = str(error)
                if not isinstance(work, Question):
                    news = News(done=f"not done: {said}")
                else:
                    news = News(work, trouble=said)
            except Exception as error:  # a defect of ours is said, and the view goes on
                news = News(trouble=f"defect: {type(error).__name__}: {error}")
            self._news.put(news)
            self._on_news()

    def _do(self, work: Question | Explain | Deed) -> News:
        if isinstance(work, Explain):
            return News(done=explain(self._base, work.id, self._queues))
        if isinstance(work, Deed):
            return News(done=do(self._base, work, self._queues))
        only = (work.queue,) if work.queue else ()
        overview = gather(self._base, self._clock, work.args, only)
        self._queues = tuple(one.queue for one in overview.queues if one.is_asked)
        messages: tuple[StoredMessage, ...] = ()
        if work.site:
            messages = messages_of(self._base, only or self._queues, work.channel, work.site)
        return News(work, overview, messages)
