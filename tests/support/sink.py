"""A remote site for tests: the project's own sink, in a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType

from postroom.sink.counters import Counters
from postroom.sink.profile import Profile, Rule, Site, parse_rule
from postroom.sink.recorder import Received, Recorder
from postroom.sink.server import Sink


class SinkThread:
    """A sink that listens while it is entered; `messages` is what it took.

    Rules are those of `postroom sink`: "rcpt=*@refused.example reply=550 5.1.1 No such user".
    """

    def __init__(
        self,
        *rules: str,
        port: int = 0,
        hostname: str = "sink.example",
        extensions: tuple[str, ...] = Site().extensions,
        connections_max: int = 0,
    ) -> None:
        """Beyond `connections_max` at once (0: any number) a client is greeted with 421."""
        parsed: tuple[Rule, ...] = tuple(parse_rule(rule) for rule in rules)
        site = Site(
            listen=(f"127.0.0.1:{port}",), hostname=hostname, rules=parsed, extensions=extensions,
            connections_max=connections_max,
        )  # fmt: skip
        self._profile = Profile(sites=(site,))
        self._recorder = Recorder()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self.port = port
        self.counters = Counters()
        """Of its one site."""

    @property
    def messages(self) -> list[Received]:
        """What was taken so far, in order."""
        return list(self._recorder.messages)

    @property
    def recipients(self) -> list[str]:
        """Every recipient of every message taken so far."""
        return [one for message in self.messages for one in message.recipients]

    def wait_for(
        self, enough: int | Callable[[list[Received]], bool], seconds: float = 60.0
    ) -> list[Received]:
        """Return the messages once there are `enough` recipients, or it says so."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            messages = self.messages
            if callable(enough):
                if enough(messages):
                    return messages
            elif sum(len(message.recipients) for message in messages) >= enough:
                return messages
            time.sleep(0.01)
        raise AssertionError(f"the sink has {len(self.recipients)} recipients after {seconds} s")

    def __enter__(self) -> SinkThread:
        self._thread.start()
        assert self._started.wait(10)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._error = error
            self._started.set()
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        async with Sink(self._profile, self._recorder) as sink:
            self.port = sink.port()
            [self.counters] = sink.counters.values()
            self._started.set()
            await self._stop.wait()
