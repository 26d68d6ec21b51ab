"""What the protocol asks of a session: memory, room, rights, and the policy file's word.

The part of a session that answers at once (smtp.server_events.Gate).
Called by: smtp.server, through ingress.session.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.reply import Reply
from postroom.ingress.handover import client_of
from postroom.ingress.settings import ListenSettings
from postroom.ingress.shared import Shared
from postroom.observe.events import SessionRefused
from postroom.smtp.server import ServerSession
from postroom.smtp.server_data import NO_MEMORY
from postroom.smtp.server_events import ClientRights
from postroom.smtp.xclient import XclientAttributes


class SessionGate:
    """Answers for one session, which owns these."""

    __slots__ = ()
    _shared: Shared
    _settings: ListenSettings
    _smtp: ServerSession | None
    _peer: str

    def mail(self, size_octets: int) -> Reply | None:
        """Ask memory and the engine whether mail is taken."""
        if not self._shared.memory.has_room(size_octets):
            return NO_MEMORY
        return self._shared.acceptor.ready(size_octets)

    def now(self) -> float:
        """Return the time."""
        return self._shared.clock.now()

    def recipient(self, reverse_path: str, address: str) -> Reply | None:
        """Ask the policy file whether a recipient is taken."""
        hooks, smtp = self._shared.hooks, self._smtp
        if hooks is None or smtp is None:
            return None
        return hooks.recipient(client_of(self._settings, smtp), reverse_path, address)

    def reserve(self, octets: int) -> bool:
        """Take memory for content."""
        return self._shared.memory.reserve(octets)

    def release(self, octets: int) -> None:
        """Give memory back."""
        self._shared.memory.release(octets)

    def xclient(self, attributes: XclientAttributes) -> ClientRights:
        """Return the rights of the client that a trusted proxy named."""
        assert self._smtp is not None
        return self._settings.rights_named(self._smtp.client, attributes.address)

    def refused(self, reply: Reply, about: str) -> None:
        """Tell of a refusal."""
        client = self._smtp.client.address if self._smtp is not None else self._peer
        self._shared.events.emit(
            SessionRefused(client, self._settings.policy.name, str(reply), about)
        )
