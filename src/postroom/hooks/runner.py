"""Policy hooks at work: called, bounded in time, and what they answer made sure of.

A hook runs in the loop's thread, since it is cheap there (a thread or a process for each
message would cost more than the message), and a timer of the system interrupts it: an endless
loop, a regular expression that backtracks, a call that blocks. So a hook answers at once or
not at all; what needs a look-up belongs into a file that is read at the start.

Guarantees: 1. whatever a hook does, its caller gets an answer within the time limit, or soon
after: code of C that never comes back to the interpreter is not interrupted.  2. a failure is
an event with its line, one in TELL_S for each hook.  3. without a policy file nothing is
called.
Called by: ingress, routing.router.  Raises: HookFailed from `route` alone; PolicyError from
`load_hooks`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from postroom.core.clock import Clock
from postroom.core.errors import PostroomError
from postroom.core.reply import Reply
from postroom.hooks.loader import Functions, describe, line_of, load
from postroom.hooks.values import Client, Defer, Hold, Message, Refuse
from postroom.observe.events import EventSink, PolicyFailed

FAILED = Reply(451, "4.3.0", "local policy failed, try again later")
TELL_S = 10.0


class PolicySettings(msgspec.Struct, frozen=True):
    """The `[policy]` table: `file` "" is none; `on_failure` is "defer" or "accept"."""

    file: str = ""
    time_limit_s: float = 0.05
    on_failure: str = "defer"


class HookFailed(PostroomError):
    """The hook that chooses a channel failed: the mail is deferred."""


class _TooSlow(BaseException):
    """Raised inside a hook whose time is over; not an Exception, so that it is not caught."""


class Hooks:
    """The hooks of one worker."""

    def __init__(
        self, functions: Functions, settings: PolicySettings, clock: Clock, events: EventSink
    ) -> None:
        self._settings = settings
        self._path = Path(settings.file)
        self._clock = clock
        self._events = events
        self._told: dict[str, tuple[float, int]] = {}
        self._accepts = settings.on_failure == "accept"
        self.on_connect = functions.get("on_connect")
        self.on_recipient = functions.get("on_recipient")
        self.on_message = functions.get("on_message")
        self.on_route = functions.get("route")

    def connect(self, client: Client) -> Reply | None:
        """Ask whether a client is served."""
        return self._reply("on_connect", self.on_connect, client)

    def recipient(self, client: Client, sender: str, recipient: str) -> Reply | None:
        """Ask whether a recipient is taken."""
        return self._reply("on_recipient", self.on_recipient, client, sender, recipient)

    def message(self, message: Message) -> Reply | Hold | None:
        """Ask whether a message is taken, and whether it is held."""
        if self.on_message is None:
            return None
        try:
            answer = self._call(self.on_message, message)
            if answer is None or isinstance(answer, Hold):
                return answer
            if isinstance(answer, Refuse | Defer):
                return answer.reply
            raise TypeError(f"on_message returned {answer!r}; expected Refuse, Defer, Hold or None")
        except (Exception, _TooSlow) as error:
            self._tell("on_message", error)
            return None if self._accepts else FAILED

    def route(self, domain: str) -> str | None:
        """Ask for the channel of a domain, None where the configuration decides."""
        if self.on_route is None:
            return None
        try:
            answer = self._call(self.on_route, domain)
            if answer is not None and not isinstance(answer, str):
                raise TypeError(
                    f"route returned {answer!r}; expected the name of a channel or None"
                )
            return answer
        except (Exception, _TooSlow) as error:
            self._tell("route", error)
            raise HookFailed(f"route: {describe(error)}") from None

    def _reply(
        self, name: str, hook: Callable[..., Any] | None, *arguments: object
    ) -> Reply | None:
        if hook is None:
            return None
        try:
            answer = self._call(hook, *arguments)
            if answer is None:
                return None
            if isinstance(answer, Refuse | Defer):
                return answer.reply
            raise TypeError(f"{name} returned {answer!r}; expected Refuse, Defer or None")
        except (Exception, _TooSlow) as error:
            self._tell(name, error)
            return None if self._accepts else FAILED

    def _call(self, hook: Callable[..., Any], *arguments: object) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return hook(*arguments)  # tools and tests; workers have their loop in the main thread
        before = signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, self._settings.time_limit_s)
        try:
            return hook(*arguments)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _tell(self, name: str, error: BaseException) -> None:
        now = self._clock.now()
        since, unsaid = self._told.get(name, (float("-inf"), 0))
        if now - since < TELL_S:
            self._told[name] = (since, unsaid + 1)
            return
        self._told[name] = (now, 0)
        limit_ms = round(1000 * self._settings.time_limit_s)
        text = f"longer than {limit_ms} ms" if isinstance(error, _TooSlow) else describe(error)
        self._events.emit(PolicyFailed(name, text, line_of(error, self._path), unsaid))


def load_hooks(settings: PolicySettings, clock: Clock, events: EventSink) -> Hooks | None:
    """Return the hooks of a configuration, None where it names no file; raises PolicyError."""
    if not settings.file:
        return None
    return Hooks(load(Path(settings.file)), settings, clock, events)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _TooSlow
