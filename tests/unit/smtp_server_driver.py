"""Drives a ServerSession without a network, and answers its questions at once."""

from __future__ import annotations

from collections.abc import Callable

from postroom.core.reply import Reply
from postroom.smtp.content_limits import ContentLimits
from postroom.smtp.server import ServerSession
from postroom.smtp.server_events import (
    AuthGiven,
    ClientRights,
    Closed,
    MessageComplete,
    ServerEvent,
    ServerSettings,
    StartTls,
)
from postroom.smtp.xclient import XclientAttributes

LOCAL = ClientRights("127.0.0.1", may_relay=True)
STRANGER = ClientRights("203.0.113.9")
PASSWORDS = {"anna": "s3cret"}


def settings(**changes: object) -> ServerSettings:
    values: dict[str, object] = {
        "hostname": "mx.example.org",
        "content": ContentLimits(1_000_000, 100),
        "recipients_max": 100,
        "messages_max": 100,
        "errors_max": 20,
    }
    values.update(changes)
    return ServerSettings(**values)  # type: ignore[arg-type]


class OpenGate:
    """Takes all mail, within a bound of memory."""

    def __init__(self, octets_max: int = 10_000_000) -> None:
        self.octets_max = octets_max
        self.reserved = 0
        self.refusals: list[tuple[Reply, str]] = []
        self.mail_refusal: Reply | None = None
        self.time = 1_790_000_000.0
        self.named: list[XclientAttributes] = []

    def mail(self, size_octets: int) -> Reply | None:
        return self.mail_refusal

    def now(self) -> float:
        return self.time

    def recipient(self, reverse_path: str, address: str) -> Reply | None:
        return None

    def reserve(self, octets: int) -> bool:
        if self.reserved + octets > self.octets_max:
            return False
        self.reserved += octets
        return True

    def release(self, octets: int) -> None:
        self.reserved -= octets
        assert self.reserved >= 0

    def xclient(self, attributes: XclientAttributes) -> ClientRights:
        self.named.append(attributes)
        return ClientRights(attributes.address or "", may_xclient=True)

    def refused(self, reply: Reply, about: str) -> None:
        self.refusals.append((reply, about))


class Driver:
    """A session whose decisions are made at once: messages are kept, passwords looked up."""

    def __init__(
        self,
        server: ServerSettings | None = None,
        client: ClientRights = LOCAL,
        *,
        tls: str = "",
        gate: OpenGate | None = None,
        keep: Callable[[MessageComplete], Reply] | None = None,
    ) -> None:
        self.gate = gate or OpenGate()
        self.session = ServerSession(server or settings(), client, self.gate, tls=tls)
        self.session.greet()
        self.greeting = self.session.take_output()
        self.messages: list[MessageComplete] = []
        self.closed = False
        self.tls_asked = False
        self._keep = keep

    def send(self, data: bytes) -> bytes:
        """Give octets, return all that is answered."""
        self.act(self.session.receive(data))
        return self.session.take_output()

    def act(self, event: ServerEvent | None) -> None:
        while event is not None:
            if isinstance(event, MessageComplete):
                self.messages.append(event)
                self.gate.release(event.reserved_octets)
                reply = self._keep(event) if self._keep else Reply(250, "2.0.0", "queued")
                event = self.session.resume(reply)
            elif isinstance(event, AuthGiven):
                given = event.credentials
                good = PASSWORDS.get(given.user) == given.password
                refusal = None if good else Reply(535, "5.7.8", "Wrong name or password")
                event = self.session.resume_auth(given.user, refusal)
            elif isinstance(event, StartTls):
                self.tls_asked = True
                return
            else:
                assert isinstance(event, Closed)
                self.closed = True
                return

    def codes(self, data: bytes) -> list[int]:
        """Give octets, return the codes of the replies."""
        return [int(line[:3]) for line in self.send(data).splitlines() if line[3:4] != b"-"]

    def content(self, number: int = -1) -> bytes:
        return b"".join(self.messages[number].content)


OPENING = b"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n"
