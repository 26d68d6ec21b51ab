"""From what a program has in hand to an envelope and content.

Called by: client.client, cli.  Raises: ValueError, TypeError for what is no mail.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from postroom.client.header import BLIND, Header, with_crlf
from postroom.core.message import Envelope, Notify, Recipient
from postroom.core.terms import Terms

if TYPE_CHECKING:
    from email.message import Message

_NOTIFY_WORDS = {
    "never": Notify.NEVER,
    "success": Notify.SUCCESS,
    "failure": Notify.FAILURE,
    "delay": Notify.DELAY,
}


def parse_notify(text: str) -> Notify:
    """Return the flags of "never" or of words such as "failure,delay" (RFC 3461 §4.1)."""
    flags = Notify.UNSET
    for word in text.lower().replace(" ", "").split(","):
        if word not in _NOTIFY_WORDS:
            raise ValueError(f"NOTIFY is never, or some of success, failure, delay; not {word!r}")
        flags |= _NOTIFY_WORDS[word]
    # RFC 3461 §4.1: NEVER must stand alone.
    if Notify.NEVER in flags and flags != Notify.NEVER:
        raise ValueError("NOTIFY never stands alone")
    return flags


def octets_of(message: bytes | str | Message, *, utf8: bool) -> bytes:
    """Return a message as octets with CRLF line ends."""
    if isinstance(message, bytes | bytearray | memoryview):
        return with_crlf(bytes(message))
    if isinstance(message, str):
        return with_crlf(message.encode("utf-8", "surrogateescape"))
    from email.policy import SMTP, SMTPUTF8

    as_bytes = getattr(message, "as_bytes", None)
    if as_bytes is None:
        kind = type(message).__name__
        raise TypeError(f"a message is bytes, str or email.message.EmailMessage, not {kind}")
    return with_crlf(as_bytes(policy=SMTPUTF8 if utf8 else SMTP))


def submission_of(
    message: bytes | str | Message,
    *,
    sender: str | None,
    recipients: str | Iterable[str | Recipient] | None,
    envid: str = "",
    ret: str = "",
    notify: str | Notify = Notify.UNSET,
    terms: Terms | None = None,
) -> tuple[Envelope, bytes]:
    """Return envelope and content.

    `sender` None means Sender or From of the header, "" the null reverse-path.
    `recipients` None means To, Cc and Bcc of the header (or their Resent- forms); only
    then are the Bcc fields removed.
    """
    flags = parse_notify(notify) if isinstance(notify, str) else Notify(notify)
    given = None if recipients is None else _recipients(recipients, flags)
    named = (sender or "", *(recipient.address for recipient in given or ()))
    content = octets_of(message, utf8=not all(map(str.isascii, named)))
    if given is None or sender is None:
        header = Header(content)
        if sender is None:
            sender = header.author()
            if sender is None:
                raise ValueError("no sender: give one, or a From field in the header")
        if given is None:
            given = _recipients(header.recipients(), flags)
            if not BLIND.isdisjoint(name for name, _ in header.fields):
                header.remove(BLIND)
                content = header.encode()
    if not given:
        raise ValueError("no recipients: give some, or a To, Cc or Bcc field in the header")
    return envelope_of(content, sender, given, envid=envid, ret=ret, terms=terms), content


def envelope_of(
    content: bytes,
    sender: str,
    recipients: tuple[Recipient, ...],
    *,
    envid: str,
    ret: str,
    terms: Terms | None = None,
) -> Envelope:
    """Return an envelope that says what the content needs of the hosts on its way."""
    plain = content.isascii()
    addresses = (sender, *(recipient.address for recipient in recipients))
    # RFC 6531 §3.4: SMTPUTF8 where an address or a header field is not ASCII.
    smtputf8 = not all(map(str.isascii, addresses))
    if not plain and not smtputf8:
        head, separator, _ = content.partition(b"\r\n\r\n")
        smtputf8 = bool(separator) and not head.isascii() and _is_utf8(head)
    return Envelope(
        reverse_path=sender,
        recipients=recipients,
        ret=ret.upper(),
        envid=envid,
        eight_bit=not plain,
        smtputf8=smtputf8,
        terms=terms,
    )


def _is_utf8(octets: bytes) -> bool:
    """A header in some old 8-bit character set is passed on as it is, without SMTPUTF8."""
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _recipients(
    recipients: str | Iterable[str | Recipient], notify: Notify
) -> tuple[Recipient, ...]:
    """Return recipients without doubles, in order."""
    if isinstance(recipients, str):
        recipients = (recipients,)
    found: dict[str, Recipient] = {}
    for recipient in recipients:
        if isinstance(recipient, str):
            recipient = Recipient(recipient, notify=int(notify))
        found.setdefault(recipient.address, recipient)
    return tuple(found.values())
