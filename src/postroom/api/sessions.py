"""Sessions of browsers: what a cookie stands for.

They are kept in memory alone: who restarts the console logs in again. A session is as good
as its token: one that is revoked or expires ends it.
Pure but for the secrets it draws.  Guarantees: at most SESSIONS_MAX, the longest unused goes.
Called by: api.access, console.  Raises: nothing.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict

import msgspec

COOKIE = "postroom_session"
SESSIONS_MAX = 1000
IDLE_S = 2 * 3600.0
LIFE_S = 12 * 3600.0


class Session(msgspec.Struct):
    """One login. `csrf` is what requests that change anything must bring in a header."""

    token_id: str
    csrf: str
    began_at: float
    used_at: float


class Sessions:
    """All sessions of this process."""

    def __init__(self) -> None:
        self._by_key: OrderedDict[str, Session] = OrderedDict()

    def begin(self, token_id: str, now: float) -> tuple[str, Session]:
        """Begin a session; return the value of its cookie, and itself."""
        key = secrets.token_urlsafe(32)
        session = Session(token_id, secrets.token_urlsafe(24), now, now)
        self._by_key[key] = session
        while len(self._by_key) > SESSIONS_MAX:
            self._by_key.popitem(last=False)
        return key, session

    def find(self, key: str, now: float) -> Session | None:
        """Return the session of a cookie, unless it is over."""
        session = self._by_key.get(key)
        if session is None:
            return None
        if now - session.used_at > IDLE_S or now - session.began_at > LIFE_S:
            del self._by_key[key]
            return None
        session.used_at = now
        self._by_key.move_to_end(key)
        return session

    def has(self, session: Session) -> bool:
        """Say whether a session goes on."""
        return any(one is session for one in self._by_key.values())

    def end(self, session: Session) -> None:
        """End a session."""
        for key, one in list(self._by_key.items()):
            if one is session:
                del self._by_key[key]


def is_csrf(session: Session, given: str) -> bool:
    """Say whether a header holds what the session was given."""
    return hmac.compare_digest(session.csrf.encode(), given.encode("utf-8", "surrogatepass"))
