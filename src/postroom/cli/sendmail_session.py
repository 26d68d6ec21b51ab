"""`sendmail -bs`: SMTP on standard input and output, for programs that speak no TCP.

The protocol is that of smtp.server; each message goes to a queue or, while no server runs,
to the maildrop, before it is answered with 250.

Called by: cli.sendmail.  Raises: nothing beyond what reading and writing raise.
"""

from __future__ import annotations

import os
import sys

from postroom.cli.output import OK
from postroom.client import Client, NotAccepted, Unavailable
from postroom.config.model import Config
from postroom.core.clock import SystemClock
from postroom.core.errors import PostroomError
from postroom.core.message import Envelope
from postroom.core.reply import Reply
from postroom.core.terms import PRIORITIES
from postroom.smtp.content_limits import ContentLimits
from postroom.smtp.server import ServerSession
from postroom.smtp.server_events import ClientRights, Closed, MessageComplete, ServerSettings
from postroom.smtp.server_terms import TermsOffered
from postroom.smtp.xclient import XclientAttributes

READ_OCTETS = 65536


class _Gate:
    """Takes everything: the queue decides, and there is one session in this process."""

    def mail(self, size_octets: int) -> Reply | None:
        """Any announced size: the limit is that of the settings."""
        return None

    def now(self) -> float:
        """Return the time."""
        return SystemClock().now()

    def recipient(self, reverse_path: str, address: str) -> Reply | None:
        """Any: the server asks its policy about the whole message."""
        return None

    def reserve(self, octets: int) -> bool:
        """Memory is bounded by the size limit of the one message."""
        return True

    def release(self, octets: int) -> None:
        """Nothing is counted."""

    def xclient(self, attributes: XclientAttributes) -> ClientRights:
        """Not offered, so never asked."""
        return ClientRights()

    def refused(self, reply: Reply, about: str) -> None:
        """The program at the other end has read it."""


def talk(config: Config) -> int:
    """Serve one session; return the exit code."""
    limits = [(policy.size_limit_octets, policy) for policy in config.listen]
    size_octets, policy = max(limits, key=lambda pair: pair[0])
    settings = ServerSettings(
        hostname=config.hostname,
        content=ContentLimits(size_octets, policy.hops_max, policy.bare_newline == "normalise"),
        recipients_max=policy.recipients_max,
        messages_max=sys.maxsize,
        errors_max=policy.errors_max,
        terms=TermsOffered(
            max(policy.future_release_s for policy in config.listen),
            PRIORITIES.stop - 1,
            max(policy.deliver_by_min_s for policy in config.listen),
        ),
    )
    # Who may run this program may send: it is no network client.
    session = ServerSession(settings, ClientRights(may_relay=True), _Gate())
    session.greet()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    with Client(config) as client:
        while True:
            sink.write(session.take_output())
            sink.flush()
            data = os.read(source.fileno(), READ_OCTETS)
            if not data:
                return OK
            event = session.receive(data)
            while isinstance(event, MessageComplete):
                content = b"".join(event.content)
                event = session.resume(_keep(client, config, event.envelope, content))
            if isinstance(event, Closed):
                sink.write(session.take_output())
                sink.flush()
                return OK


def _keep(client: Client, config: Config, envelope: Envelope, content: bytes) -> Reply:
    """Make a message durable; return the reply to the end of data."""
    from postroom.cli.sendmail import leave

    try:
        return Reply(250, "2.0.0", f"{client.submit(envelope, content)} queued")
    except NotAccepted as error:
        return error.reply
    except Unavailable as error:
        if error.queue_id:
            return Reply(451, "4.3.0", "the queue was lost, try again")
    try:
        return Reply(250, "2.0.0", f"{leave(config, envelope, content)} queued")
    except PostroomError as error:
        return Reply(451, "4.3.0", str(error))
