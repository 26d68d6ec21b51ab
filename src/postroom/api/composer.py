"""From the parts of a message as a program knows them to MIME.

Built with the standard library's email package; nothing of MIME is written here. Where a
recipient has substitutions, or `separate` is asked for, each of `to` gets a message of its own
with their values in the places of {{name}}; in HTML they are escaped.

Pure but for the time it is told.  Called by: api.injection.  Raises: Problem (422).
RFCs: RFC 5322, RFC 2045, RFC 6532.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, getaddresses

import msgspec

from postroom.api.outgoing import Outgoing
from postroom.api.problem import Problem
from postroom.client.header import with_crlf
from postroom.client.submission import envelope_of, parse_notify
from postroom.client.wishes import Wish, terms_of
from postroom.config.model import Config
from postroom.core.message import Recipient
from postroom.core.terms import NO_TERMS, Terms, parse_moment
from postroom.ingress.local_protocol import is_address

RECIPIENTS_MAX = 1000
BATCH_MAX = 100
OCTETS_MAX = 256 << 20
"""Of all messages that one request makes."""
_PLACE = re.compile(r"\{\{\s*([A-Za-z0-9_.-]{1,64})\s*\}\}")
_NAME = re.compile(r"[!-9;-~]{1,76}")
_OWN_FIELDS = frozenset(
    ("from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "reply-to",
     "received", "return-path", "sender")
)  # fmt: skip


_TORN = re.compile(rb"\n(?![ \t])|\r(?!\n)|(?<!\r)\n")
_WORD_CHARACTERS_MAX = 70
LINE_CHARACTERS_MAX = 998
"""RFC 5322 §2.1.1."""


class _Lines(EmailPolicy):
    """Writes header fields: each is one field, whatever was given for it.

    The library decodes words such as =?utf-8?q?=0A?= and writes what was in them, line ends
    too; and it encodes what has no place to fold, which readers of an address in
    List-Unsubscribe do not expect.
    """

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return a field as octets; raises ValueError where it would be more than one."""
        text, wide = str(value), self
        if text.isascii() and any(len(one) > _WORD_CHARACTERS_MAX for one in text.split()):
            wide = self.clone(max_line_length=LINE_CHARACTERS_MAX)
        octets: bytes = super(_Lines, wide).fold_binary(name, value)
        if _TORN.search(octets.removesuffix(b"\r\n")):
            raise ValueError(f"the value of {name} has line ends in it, perhaps encoded")
        return octets


_SMTP = _Lines(linesep="\r\n")
_SMTPUTF8 = _SMTP.clone(utf8=True)


class Mailbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An address, with a name for people, and what stands in its message for {{name}}."""

    address: str
    name: str = ""
    substitutions: dict[str, str] = {}


class Attachment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file: its content in base64. With a `content_id` it stands in the HTML (cid:...)."""

    name: str
    content: bytes
    type: str = "application/octet-stream"
    content_id: str = ""


class Wishes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be wished beside delivery.

    `send_at` is when it may be sent first, `deliver_by` until when it is to have been delivered
    (RFC 3339, with a time zone): what is late is told to its sender, or returned (`late`).
    `priority` is from -9 to 9, more is more urgent.
    """

    send_at: str = ""
    deliver_by: str = ""
    late: str = ""
    priority: int = 0
    envid: str = ""
    ret: str = ""
    notify: str = ""


class MessageIn(Wishes, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message by its parts.

    `sender` is the reverse-path, `from` where it is not given. `tag` goes into the header field
    that rules of channels read. `separate`: each of `to` gets a message of its own.
    """

    from_: str | Mailbox = msgspec.field(name="from")
    to: list[str | Mailbox]
    cc: list[str | Mailbox] = []
    bcc: list[str | Mailbox] = []
    reply_to: list[str | Mailbox] = []
    sender: str | None = None
    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: dict[str, str] = {}
    attachments: list[Attachment] = []
    tag: str = ""
    separate: bool = False


def compose(given: MessageIn, config: Config, now: float, number: int = 0) -> list[Outgoing]:
    """Return the messages that one gives; `number` is its place in the request."""
    at = f"messages[{number}]." if number else ""
    author = _mailbox(given.from_, f"{at}from")
    to = [_mailbox(one, f"{at}to[{i}]") for i, one in enumerate(given.to)]
    cc = [_mailbox(one, f"{at}cc[{i}]") for i, one in enumerate(given.cc)]
    bcc = [_mailbox(one, f"{at}bcc[{i}]") for i, one in enumerate(given.bcc)]
    if not to + cc + bcc:
        raise _wrong(f"{at}to", "no recipients", "at least one")
    if len(to + cc + bcc) > RECIPIENTS_MAX:
        raise _wrong(f"{at}to", "too many recipients", f"at most {RECIPIENTS_MAX} in a request")
    sender = given.sender if given.sender is not None else author.address
    terms = wished(given, now, at)
    is_separate = given.separate or any(one.substitutions for one in to)
    if not is_separate:
        content = _built(given, author, to, cc, {}, config, now, at)
        return [_outgoing(given, sender, [*to, *cc, *bcc], content, terms, number, at)]
    if cc or bcc:
        raise _wrong(
            f"{at}cc", "cc and bcc stand beside messages of their own for each recipient",
            "none; put them into `to`",
        )  # fmt: skip
    messages: list[Outgoing] = []
    octets = 0
    for one in to:
        content = _built(given, author, [one], [], one.substitutions, config, now, at)
        octets += len(content)
        if octets > OCTETS_MAX:
            raise Problem(
                413, f"the messages of this request have more than {OCTETS_MAX} octets",
                field=f"{at}to", expected="fewer recipients, or smaller attachments",
                remedy="divide the request",
            )  # fmt: skip
        messages.append(_outgoing(given, sender, [one], content, terms, number, at))
    return messages


def wished(given: Wishes, now: float, at: str = "") -> Terms | None:
    """Return the terms that are wished; a time that has come since the request came is none."""
    wish = Wish(priority=given.priority)
    try:
        if given.send_at:
            wish["hold_until"] = given.send_at
        terms = terms_of(now, wish)
    except ValueError as error:
        field = "priority" if "priority" in str(error) else "send_at"
        raise _wrong(at + field, str(error), "a time to come: 2026-12-01T08:00Z") from error
    if not given.deliver_by:
        if given.late:
            raise _wrong(f"{at}late", "late is given without deliver_by", "both, or none")
        return terms
    if given.late not in ("", "notify", "return"):
        raise _wrong(f"{at}late", f"{given.late!r} is not understood", "notify or return")
    try:
        deliver_by = parse_moment(given.deliver_by)
    except ValueError as error:
        raise _wrong(f"{at}deliver_by", str(error), "2026-12-01T09:00Z") from error
    terms = terms or NO_TERMS
    if deliver_by <= max(now, terms.release_at):
        raise _wrong(f"{at}deliver_by", f"{given.deliver_by} is too early", "a time after send_at")
    mode = "R" if given.late == "return" else "N"
    return msgspec.structs.replace(terms, deliver_by=deliver_by, by_mode=mode)


def _outgoing(
    given: MessageIn, sender: str, to: Sequence[Mailbox], content: bytes, terms: Terms | None,
    number: int, at: str,
) -> Outgoing:  # fmt: skip
    if sender and not is_address(sender):
        raise _wrong(f"{at}sender", f"{sender!r} is no address", 'an address, or "" for <>')
    try:
        flags = parse_notify(given.notify) if given.notify else 0
    except ValueError as error:
        raise _wrong(f"{at}notify", str(error), "never, or success,failure,delay") from error
    if given.ret.upper() not in ("", "FULL", "HDRS"):
        raise _wrong(f"{at}ret", f"{given.ret!r} is not understood", "full or hdrs")
    recipients = {one.address: Recipient(one.address, notify=int(flags)) for one in to}
    envelope = envelope_of(
        content, sender, tuple(recipients.values()), envid=given.envid, ret=given.ret, terms=terms
    )
    return Outgoing(envelope, content, number)


def _built(
    given: MessageIn, author: Mailbox, to: Sequence[Mailbox], cc: Sequence[Mailbox],
    values: dict[str, str], config: Config, now: float, at: str,
) -> bytes:  # fmt: skip
    if given.text is None and given.html is None:
        raise _wrong(f"{at}text", "the message has no body", "text, html, or both")
    addresses = (author, *to, *cc)
    policy = _SMTP if all(one.address.isascii() for one in addresses) else _SMTPUTF8
    message = EmailMessage(policy=policy)
    try:
        message["From"] = _shown(author)
        if to:
            message["To"] = [_shown(one) for one in to]
        if cc:
            message["Cc"] = [_shown(one) for one in cc]
        if given.reply_to:
            message["Reply-To"] = [_shown(_mailbox(one, f"{at}reply_to")) for one in given.reply_to]
        message["Subject"] = _filled(given.subject, values, f"{at}subject")
        message["Date"] = format_datetime(datetime.fromtimestamp(int(now), UTC))
        if given.tag:
            message[config.tag_header] = given.tag
    except (ValueError, IndexError, UnicodeError) as error:
        raise _wrong(f"{at}subject", f"the header cannot be made: {error}", "one line") from error
    for name, value in given.headers.items():
        _add_header(message, name, _filled(value, values, f"{at}headers.{name}"), at)
    if given.text is not None:
        message.set_content(_filled(given.text, values, f"{at}text"))
    if given.html is not None:
        _add_html(message, given, values, at)
    for index, one in enumerate(given.attachments):
        if not (one.content_id and given.html is not None):
            _attach(message, one, f"{at}attachments[{index}]")
    try:
        return with_crlf(message.as_bytes(policy=policy))
    except (ValueError, UnicodeError) as error:
        raise _wrong(
            f"{at}headers", f"the message cannot be made: {error}", "valid text"
        ) from error


def _add_html(message: EmailMessage, given: MessageIn, values: dict[str, str], at: str) -> None:
    assert given.html is not None
    escaped = {name: html.escape(value) for name, value in values.items()}
    text = _filled(given.html, escaped, f"{at}html")
    if given.text is None:
        message.set_content(text, subtype="html")
        part: EmailMessage = message
    else:
        message.add_alternative(text, subtype="html")
        part = message.get_payload(1)  # type: ignore[assignment]
    for index, one in enumerate(given.attachments):
        if one.content_id:
            _attach(part, one, f"{at}attachments[{index}]")


def _attach(part: EmailMessage, one: Attachment, at: str) -> None:
    main, slash, sub = one.type.partition("/")
    if not slash or not re.fullmatch(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+", one.type):
        raise _wrong(f"{at}.type", f"{one.type!r} is no media type", "such as application/pdf")
    if main in ("multipart", "message"):
        raise _wrong(f"{at}.type", f"{one.type} cannot be attached", "another type")
    if not one.name.isprintable() or "/" in one.name or len(one.name) > 255:
        raise _wrong(f"{at}.name", f"{one.name!r} is no name of a file", "a name without a path")
    if one.content_id:
        if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,200}", one.content_id):
            raise _wrong(f"{at}.content_id", "not understood", "letters, digits, . _ - @")
        part.add_related(
            one.content, maintype=main, subtype=sub, cid=f"<{one.content_id}>",
            filename=one.name, disposition="inline",
        )  # fmt: skip
        return
    part.add_attachment(one.content, maintype=main, subtype=sub, filename=one.name)


def _add_header(message: EmailMessage, name: str, value: str, at: str) -> None:
    field = f"{at}headers.{name}"
    if not _NAME.fullmatch(name):
        raise _wrong(field, f"{name!r} is no name of a header field", "such as X-Campaign")
    if name.lower() in _OWN_FIELDS or name.lower().startswith(("content-", "resent-")):
        raise _wrong(field, f"{name} is made from the rest of the request", "other fields")
    try:
        message[name] = value
    except (ValueError, IndexError) as error:
        raise _wrong(field, f"{error}", "one line") from error


def _filled(text: str, values: dict[str, str], field: str) -> str:
    """Put values into their places; where a message has none, the places are text."""
    if not values:
        return text
    missing = {match[1] for match in _PLACE.finditer(text)} - values.keys()
    if missing:
        names = ", ".join(sorted(missing))
        raise _wrong(field, f"no substitution for {names}", "one for each {{name}}")
    return _PLACE.sub(lambda match: values[match[1]], text)


def _mailbox(given: str | Mailbox, field: str) -> Mailbox:
    if isinstance(given, str):
        named = getaddresses([given])
        name, address = named[0] if len(named) == 1 else ("", "")
        if not address:
            raise _wrong(field, f"{given!r} is no address", 'a@example.com, or "Name" <a@...>')
        given = Mailbox(address, name)
    if not is_address(given.address) or "@" not in given.address:
        raise _wrong(field, f"{given.address!r} is no address", "a@example.com")
    if not given.name.isprintable():
        raise _wrong(field, "the name has control characters", "one line of text")
    return given


def _shown(one: Mailbox) -> HeaderAddress:
    local, _, domain = one.address.rpartition("@")
    return HeaderAddress(one.name, local.strip('"'), domain)


def _wrong(field: str, detail: str, expected: str) -> Problem:
    return Problem(
        422, f"{field}: {detail}", field=field, expected=expected, kind="invalid-value",
        remedy="see docs/how-to/api.md",
    )  # fmt: skip
