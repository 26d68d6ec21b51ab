"""From a complete message of a session to the engine: provenance, Received header, intake, reply.

Called by: ingress.session.  Raises: nothing.
RFCs: RFC 5321 §4.4.
"""

from __future__ import annotations

import asyncio

from postroom.core.errors import ReplyError
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Provenance
from postroom.core.reply import Reply
from postroom.hooks.runner import Hooks
from postroom.hooks.values import Client, Message
from postroom.ingress.settings import ListenSettings
from postroom.ingress.shared import Shared
from postroom.observe.events import Defect
from postroom.smtp.server import ServerSession
from postroom.smtp.server_events import MessageComplete
from postroom.smtp.trace import protocol_word, received_header

_NOT_KEPT = Reply(451, "4.3.0", "The message could not be kept, try again later")


def hand_over(
    shared: Shared, settings: ListenSettings, smtp: ServerSession, message: MessageComplete
) -> tuple[QueueId, asyncio.Future[None]]:
    """Give a message to the engine; the future is done once it is durable."""
    queue_id = shared.acceptor.new_id()
    envelope = message.envelope
    provenance = _provenance(settings, smtp, envelope)
    header = received_header(
        client=provenance.client,
        helo=provenance.helo,
        hostname=settings.server.hostname,
        protocol=provenance.protocol,
        queue_id=queue_id,
        recipient=envelope.recipients[0].address if len(envelope.recipients) == 1 else "",
        date=shared.dates.at(shared.clock.now()),
    )
    hold = ""
    if shared.hooks is not None:
        answer = shared.hooks.message(
            Message(
                client_of(settings, smtp), envelope.reverse_path,
                [one.address for one in envelope.recipients], message.content,
            )
        )  # fmt: skip
        if isinstance(answer, Reply):
            return queue_id, refusal_of(answer)
        hold = answer.reason if answer is not None else ""
    content = (header, *message.content)
    return queue_id, shared.acceptor.accept(queue_id, envelope, content, provenance, hold=hold)


def refusal_of(reply: Reply) -> asyncio.Future[None]:
    """Return the future of a message that is not kept."""
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    refused.set_exception(ReplyError(reply))
    return refused


def client_of(settings: ListenSettings, smtp: ServerSession) -> Client:
    """Return a session's client as the policy file is told of it."""
    return Client(
        smtp.client.address, settings.policy.name, smtp.user, smtp.helo, str(smtp.tls or "")
    )


def welcome(hooks: Hooks, settings: ListenSettings, smtp: ServerSession) -> Reply | None:
    """Ask the policy file whether a client is served; the reply stands for the greeting."""
    refusal = hooks.connect(client_of(settings, smtp))
    if refusal is None:
        return None
    # RFC 5321 §3.1: 554 in place of the greeting, 421 where it is for now.
    return Reply(554 if refusal.is_permanent else 421, refusal.enhanced, refusal.text)


def reply_for(shared: Shared, queue_id: QueueId, future: asyncio.Future[None]) -> Reply | bytes:
    """Return what the sender is told, once the future of `hand_over` is done."""
    error = None if future.cancelled() else future.exception()
    if error is None and not future.cancelled():
        return f"250 2.0.0 {queue_id} queued\r\n".encode("ascii")
    if isinstance(error, ReplyError):
        return error.reply
    shared.events.emit(Defect("ingress.session", f"not kept: {error!r}", queue_id))
    return _NOT_KEPT


def _provenance(settings: ListenSettings, smtp: ServerSession, envelope: Envelope) -> Provenance:
    word = protocol_word(
        extended=smtp.extended,
        tls=bool(smtp.tls),
        authenticated=bool(smtp.user),
        smtputf8=envelope.smtputf8,
    )
    return Provenance(word, smtp.client.address, smtp.helo, smtp.user, settings.policy.name)
