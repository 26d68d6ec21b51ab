"""The routes that take mail: raw MIME, a message by its parts, several at a time.

Called by: api.routes.  Raises: Problem.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from email.utils import getaddresses

import msgspec

from postroom.api.composer import BATCH_MAX, RECIPIENTS_MAX, MessageIn, Wishes, compose, wished
from postroom.api.context import Context
from postroom.api.outgoing import Make, Outgoing
from postroom.api.problem import Problem
from postroom.api.route import Answer, Call
from postroom.client.header import Header
from postroom.client.submission import submission_of
from postroom.control.tokens import Role, Token
from postroom.core.message import Envelope, Notify
from postroom.groups.tenants import TenantTable
from postroom.ingress.local_protocol import is_address

RAW = "message/rfc822"
KEY_CHARACTERS_MAX = 255
REPLAYED = "Idempotent-Replayed"
_SHOWN = re.compile(r'[^\s<>()\[\],;:"]+@([^\s<>()\[\],;:"\\@]+\.[^\s<>()\[\],;:"\\@]+)')
"""What people take for an address."""


class Once(msgspec.Struct, frozen=True, omit_defaults=True):
    """`Idempotency-Key`: any text of the client, known for a day; a request that comes again
    with it is done once. Up to 255 printable ASCII characters.
    """

    key: str = msgspec.field(default="", name="Idempotency-Key")


class RawQuery(Wishes, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """For content that is MIME already: its envelope, by default that of the header.

    `sender` is the reverse-path, `<>` the null one.
    """

    sender: str = ""
    recipient: list[str] = []


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Messages that are accepted together, or not at all; at most 100."""

    messages: list[MessageIn]


async def inject(context: Context, call: Call) -> Answer:
    """Take one message, by its parts or as MIME."""
    token = _allowed(call)
    is_raw = call.media_type == RAW

    async def make(now: float) -> list[Outgoing]:
        if is_raw:
            assert isinstance(call.body, bytes)
            return [raw_message(call.body, call.query, now)]
        if call.query != RawQuery():
            raise Problem(
                400, "parameters of the address are for MIME", field="query",
                expected="none beside JSON", remedy="put them into the body",
            )  # fmt: skip
        return await asyncio.to_thread(compose, call.body, context.config, now)

    return await _taken(context, call, token, make)


async def inject_batch(context: Context, call: Call) -> Answer:
    """Take several messages, all or none."""
    token = _allowed(call)
    batch: Batch = call.body
    if not 1 <= len(batch.messages) <= BATCH_MAX:
        raise Problem(
            422, f"{len(batch.messages)} messages", field="messages",
            expected=f"1 to {BATCH_MAX}", kind="invalid-value",
        )  # fmt: skip

    def made(now: float) -> list[Outgoing]:
        every: list[Outgoing] = []
        for number, one in enumerate(batch.messages):
            every += compose(one, context.config, now, number)
        return every

    async def make(now: float) -> list[Outgoing]:
        return await asyncio.to_thread(made, now)

    return await _taken(context, call, token, make)


async def _taken(context: Context, call: Call, token: Token, make: Make) -> Answer:
    async def checked(now: float) -> list[Outgoing]:
        messages = await make(now)
        if len(messages) > RECIPIENTS_MAX:
            raise Problem(
                413, f"the request makes {len(messages)} messages", field="to",
                expected=f"at most {RECIPIENTS_MAX}", remedy="divide it",
            )  # fmt: skip
        for one in messages:
            _check_right(context, token, one)
        return [_not_late(one, context.clock.now()) for one in messages]

    key = call.headers.key
    if not key:
        messages = await checked(context.clock.now())
        if len(messages) == 1:
            return Answer(await context.injector.send(messages[0], token.name))

        async def again(_now: float) -> list[Outgoing]:
            return messages

        # All or none: by a key that nobody else has.
        own = f"of its own {context.injector.new_id()}"
        accepted, _ = await context.injector.send_once(token.id, own, b"", again, token.name)
        return Answer(accepted)
    if len(key) > KEY_CHARACTERS_MAX or not (key.isascii() and key.isprintable()):
        raise Problem(
            400, "the key is not understood", field="Idempotency-Key",
            expected=f"1 to {KEY_CHARACTERS_MAX} printable ASCII characters",
        )  # fmt: skip
    accepted, was_done = await context.injector.send_once(
        token.id, f"given {key}", _digest(call), checked, token.name
    )
    return Answer(accepted, headers={REPLAYED: "true"} if was_done else {})


def _digest(call: Call) -> bytes:
    """Return what tells one request from another."""
    query = msgspec.json.encode(call.query, order="deterministic")
    body = call.body if isinstance(call.body, bytes) else msgspec.json.encode(
        call.body, order="deterministic"
    )  # fmt: skip
    digest = hashlib.sha256()
    for part in (call.media_type.encode(), query, body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def raw_message(content: bytes, query: RawQuery, now: float) -> Outgoing:
    """Return the message of MIME octets and a query; raises Problem."""
    sender = None if not query.sender else "" if query.sender == "<>" else query.sender
    recipients = query.recipient or None
    if recipients is not None and len(recipients) > RECIPIENTS_MAX:
        raise Problem(
            422, "too many recipients", field="recipient", expected=f"at most {RECIPIENTS_MAX}"
        )
    for one in (*(recipients or ()), *([sender] if sender else ())):
        if not is_address(one):
            field = "sender" if one == sender else "recipient"
            raise Problem(422, f"{one!r} is no address", field=field, expected="a@example.com")
    terms = wished(query, now)
    if query.ret.upper() not in ("", "FULL", "HDRS"):
        raise Problem(422, "ret is not understood", field="ret", expected="full or hdrs")
    try:
        envelope, octets = submission_of(
            content, sender=sender, recipients=recipients, envid=query.envid, ret=query.ret,
            notify=query.notify or Notify.UNSET, terms=terms,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise Problem(
            422, str(error), field="body", expected="a message with its header (RFC 5322)",
            remedy="give sender and recipient in the address",
        ) from error  # fmt: skip
    return Outgoing(envelope, octets)


def _not_late(one: Outgoing, now: float) -> Outgoing:
    """Return a message whose time to be sent has come, since its request first came, as due."""
    terms = one.envelope.terms
    if terms is None or not 0 < terms.release_at <= now:
        return one
    due = msgspec.structs.replace(terms, release_at=0.0, hold_for_s=0)
    envelope = msgspec.structs.replace(one.envelope, terms=None if due.is_nothing else due)
    return msgspec.structs.replace(one, envelope=envelope)


def _allowed(call: Call) -> Token:
    assert call.token is not None
    return call.token


def _check_right(context: Context, token: Token, one: Outgoing) -> None:
    """An injector may be bound to sender domains, and to a tenant."""
    if token.role is not Role.INJECTOR:
        return
    path = one.envelope.reverse_path
    if token.senders:
        is_own = _is_of(path, token.senders)
        wrong = foreign_author(one.content, token.senders) if is_own else path or "<>"
        if wrong is not None:
            raise Problem(
                403, f"the token {token.name} may not send from {wrong!r}",
                field="from", kind="wrong-sender",
                expected=f"sender and From of {', '.join(token.senders)}",
                remedy="make another: postroom token create NAME --role injector",
            )  # fmt: skip
    if token.tenant:
        found = _tenant_of(context, one.envelope, token)
        if found != token.tenant:
            raise Problem(
                403, f"this mail is of tenant {found or 'nobody'!r}", field="sender",
                kind="wrong-tenant", expected=f"mail of tenant {token.tenant}",
                remedy=f"let tenant.{token.tenant}.users or senders name it",
            )  # fmt: skip


def _tenant_of(context: Context, envelope: Envelope, token: Token) -> str:
    table = TenantTable(context.config.tenants)
    return table.name_of(envelope.reverse_path, "local", token.name)


def foreign_author(content: bytes, senders: tuple[str, ...]) -> str | None:
    """Return who in the From fields, which is what people see, is none of the senders, if any.

    Readers differ in how they take a header that is not well formed, so one that might be taken
    in two ways is nobody's. An address in the name of an author counts as one.
    """
    header = Header(content)
    rest = content[sum(len(field) for _, field in header.fields) :]
    values = [
        field.partition(b":")[2].decode("utf-8", "replace").replace("\r\n", "").strip()
        for name, field in header.fields
        if name == b"from"
    ]
    # RFC 5322 §4.5: a space before the colon is obsolete, and ends the header for some readers.
    is_torn = any(b":" not in field[: len(name) + 1] for name, field in header.fields)
    if not values or is_torn or (rest and not rest.startswith(b"\r\n")):
        return "nobody"
    domains = {one.rpartition("@")[2] for one in senders}
    for value in values:
        authors = [address for _, address in getaddresses([value])]
        if not authors:
            return "nobody"
        if wrong := [one for one in authors if not _is_of(one, senders)]:
            return wrong[0] or "nobody"
        for shown in _SHOWN.finditer(value):
            if shown[1].lower().rstrip(".") not in domains:
                return shown[0]
    return None


def _is_of(address: str, senders: tuple[str, ...]) -> bool:
    address = address.lower()
    return address in senders or address.rpartition("@")[2] in senders
