"""Bounds that sessions share: how many there are, memory for content, failed passwords.

Pure: the caller passes `now`.

Guarantees: 1. every count comes back to zero when its sessions are gone.  2. No table here
grows without bound.
Called by: ingress.session, ingress.listener.  Raises: AssertionError on misuse.
"""

from __future__ import annotations

from postroom.core.reply import Reply
from postroom.ingress.access import client_key
from postroom.smtp.server_replies import TOO_MANY_FROM_CLIENT, TOO_MANY_SESSIONS

# Content that is on its way in, over all sessions of a process, from the first octet to the
# durable commit. Five messages of the default size limit fit, or 65,000 of 4 KiB.
INTAKE_OCTETS_MAX = 256 * 1024 * 1024
# After so many wrong passwords from one client within the window, none is checked until the
# window is over: a check costs 20 MiB and tens of milliseconds, on purpose.
_AUTH_FAILURES_MAX = 20
_AUTH_WINDOW_S = 600.0
_AUTH_CLIENTS_MAX = 10_000


class SessionCount:
    """How many sessions a listener has, in total and per client."""

    __slots__ = ("_clients", "total")

    def __init__(self) -> None:
        self._clients: dict[str, int] = {}
        self.total = 0

    def enter(self, address: str, sessions_max: int, per_client_max: int) -> Reply | None:
        """Count a session; return the reply that refuses it where a limit is reached."""
        if self.total >= sessions_max:
            return TOO_MANY_SESSIONS
        key = client_key(address)
        count = self._clients.get(key, 0)
        if count >= per_client_max:
            return TOO_MANY_FROM_CLIENT
        self._clients[key] = count + 1
        self.total += 1
        return None

    def leave(self, address: str) -> None:
        """Undo `enter`."""
        key = client_key(address)
        count = self._clients[key] - 1
        assert count >= 0
        if count:
            self._clients[key] = count
        else:
            del self._clients[key]
        self.total -= 1


class IntakeMemory:
    """Octets of content that sessions of this process hold."""

    __slots__ = ("octets_max", "used_octets")

    def __init__(self, octets_max: int = INTAKE_OCTETS_MAX) -> None:
        self.octets_max = octets_max
        self.used_octets = 0

    def has_room(self, octets: int) -> bool:
        """Say whether so much more would fit now."""
        return self.used_octets + octets <= self.octets_max

    def reserve(self, octets: int) -> bool:
        """Take octets; False where they do not fit."""
        used = self.used_octets + octets
        if used > self.octets_max:
            return False
        self.used_octets = used
        return True

    def release(self, octets: int) -> None:
        """Give octets back."""
        self.used_octets -= octets
        assert self.used_octets >= 0


class AuthFailures:
    """Wrong passwords per client, within a window of time."""

    __slots__ = ("_clients",)

    def __init__(self) -> None:
        self._clients: dict[str, tuple[int, float]] = {}

    def blocked(self, address: str, now: float) -> bool:
        """Say whether this client has failed too often of late."""
        count, since = self._clients.get(client_key(address), (0, now))
        return count >= _AUTH_FAILURES_MAX and now - since < _AUTH_WINDOW_S

    def failed(self, address: str, now: float) -> None:
        """Count one wrong password."""
        key = client_key(address)
        count, since = self._clients.pop(key, (0, now))
        if now - since >= _AUTH_WINDOW_S:
            count, since = 0, now
        if len(self._clients) >= _AUTH_CLIENTS_MAX:
            del self._clients[next(iter(self._clients))]
        self._clients[key] = (count + 1, since)

    def succeeded(self, address: str) -> None:
        """Forget the failures of a client that knows its password."""
        self._clients.pop(client_key(address), None)
