"""What all sessions of a process share: the engine, memory, dates, the password checker.

Owns the threads that check passwords: two, so that a flood of guesses takes neither the
event loop nor the threads that name lookups use.

Called by: ingress.listener, ingress.session.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from postroom.core.clock import Clock
from postroom.core.reply import Reply
from postroom.hooks.runner import Hooks
from postroom.ingress.acceptor import Acceptor
from postroom.ingress.door import Turn
from postroom.ingress.limits import AuthFailures, IntakeMemory
from postroom.ingress.settings import ListenSettings
from postroom.observe.events import Defect, EventSink
from postroom.smtp.auth import Credentials
from postroom.smtp.server_replies import AUTH_UNAVAILABLE, WRONG_CREDENTIALS
from postroom.smtp.trace import DateText

_CHECKERS = 2
# Guesses wait for this; so many may wait in all before more are refused.
AUTH_FAILURE_DELAY_S = 1.0
_CHECKS_WAITING_MAX = 200


class PasswordClient(Protocol):
    """A session that waits for a password check."""

    @property
    def client_address(self) -> str:
        """Who is at the other end."""
        ...

    @property
    def settings(self) -> ListenSettings:
        """Where its users are."""
        ...

    def password_checked(self, user: str, refusal: Reply | None) -> None:
        """Hear the result."""
        ...


class Shared:
    """Services for the sessions of one process."""

    def __init__(
        self,
        acceptor: Acceptor,
        events: EventSink,
        clock: Clock,
        memory: IntakeMemory,
        auth_delay_s: float = AUTH_FAILURE_DELAY_S,
        turn: Turn | None = None,
    ) -> None:
        self.turn = turn
        self.hooks: Hooks | None = None
        """The policy file's, where there is one."""
        self.acceptor = acceptor
        self.events = events
        self.clock = clock
        self.memory = memory
        self.dates = DateText()
        self._auth_delay_s = auth_delay_s
        self._failures = AuthFailures()
        self._checks = 0
        self._threads: ThreadPoolExecutor | None = None

    def check_password(self, session: PasswordClient, credentials: Credentials) -> None:
        """Check in a thread, then tell the session."""
        loop = asyncio.get_running_loop()
        users = session.settings.users
        address = session.client_address
        if (
            users is None
            or self._checks >= _CHECKS_WAITING_MAX
            or self._failures.blocked(address, self.clock.now())
        ):
            loop.call_later(self._auth_delay_s, session.password_checked, "", AUTH_UNAVAILABLE)
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_CHECKERS, "postroom-password")
        self._checks += 1
        user = credentials.user
        future = loop.run_in_executor(self._threads, users.verify, user, credentials.password)
        future.add_done_callback(lambda done: self._checked(session, user, address, done))

    def _checked(
        self, session: PasswordClient, user: str, address: str, done: asyncio.Future[bool]
    ) -> None:
        self._checks -= 1
        if done.cancelled() or (error := done.exception()) is not None:
            if not done.cancelled():
                self.events.emit(Defect("ingress.users", type(error).__name__))
            session.password_checked("", AUTH_UNAVAILABLE)
        elif done.result():
            self._failures.succeeded(address)
            session.password_checked(user, None)
        else:
            self._failures.failed(address, self.clock.now())
            # The delay slows one guesser down; sessions and checks are bounded anyway.
            asyncio.get_running_loop().call_later(
                self._auth_delay_s, session.password_checked, "", WRONG_CREDENTIALS
            )

    def close(self) -> None:
        """Let the threads go."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
