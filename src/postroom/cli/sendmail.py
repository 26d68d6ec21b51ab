"""The `sendmail` command: mail from programs that know nothing but sendmail.

Reads a message from standard input and hands it to a queue, or, where no server runs,
leaves it durably in the maildrop. Either way exit 0 means the message is durable.

Called by: the scripts `postroom-sendmail`, `sendmail` and `mailq`, and `postroom sendmail`.
Raises: nothing; `main` returns an exit code of sysexits.h.
RFCs: RFC 5322 (fields that are added), RFC 3461 (-N, -R, -V).
"""

from __future__ import annotations

import os
import pwd
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from postroom.cli.sendmail_options import SendmailOptions, UsageError, parse_options
from postroom.client import Client, NotAccepted, Unavailable
from postroom.client.header import BLIND, Header, with_crlf
from postroom.client.submission import envelope_of, parse_notify
from postroom.client.wishes import Wish, terms_of
from postroom.config.loader import load
from postroom.config.model import Config
from postroom.core.clock import SystemClock
from postroom.core.errors import ConfigurationError, PostroomError
from postroom.core.ids import QueueIdGenerator
from postroom.core.message import Envelope, Notify, Recipient
from postroom.ingress.local_protocol import is_address

EX_OK, EX_USAGE, EX_DATAERR, EX_NOUSER, EX_TEMPFAIL, EX_CONFIG = 0, 64, 65, 67, 75, 78

SIZE_OCTETS_MAX = 1 << 30
"""What is read at most; the queue's own limit, which is lower, is told by its reply."""


class Refused(PostroomError):
    """The message is not taken: what is said, and the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def main(arguments: Sequence[str] | None = None, config_file: str = "") -> int:
    """Do what a sendmail command line asks for; return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse_options(words)
        if config_file and not options.config:
            options.config = config_file
        return _run(options)
    except UsageError as error:
        return _tell(str(error), EX_USAGE)
    except Refused as error:
        return _tell(str(error), error.code)
    except ConfigurationError as error:
        return _tell(str(error), EX_CONFIG)
    except KeyboardInterrupt:
        return _tell("interrupted; nothing was sent", EX_TEMPFAIL)


def _run(options: SendmailOptions) -> int:
    match options.mode:
        case "p":
            return _postroom(options, "mailq")
        case "q":
            return _postroom(options, "mail", "run", "all")
        case "s":
            from postroom.cli.sendmail_session import talk

            return talk(_configuration(options))
        case _:
            return deliver(options, _read_message(options))


def deliver(options: SendmailOptions, content: bytes) -> int:
    """Complete a message and make it durable; return the exit code."""
    config = _configuration(options)
    envelope, content = compose(options, content, config.hostname, _user())
    try:
        with Client(config) as client:
            queue_id = client.submit(envelope, content)
    except NotAccepted as error:
        if error.reply.is_transient:
            raise Refused(f"not taken now: {error.reply}", EX_TEMPFAIL) from error
        code = EX_NOUSER if error.reply.enhanced == "5.1.3" else EX_DATAERR
        raise Refused(f"refused: {error.reply}", code) from error
    except Unavailable as error:
        if error.queue_id:
            # It may have been kept: to leave it in the maildrop too could double it.
            raise Refused(str(error), EX_TEMPFAIL) from error
        queue_id = leave(config, envelope, content)
    if options.verbose:
        print(f"queued as {queue_id}")
    return EX_OK


def leave(config: Config, envelope: Envelope, content: bytes) -> str:
    """Leave a message in the maildrop; return its id."""
    from postroom.spool.maildrop import Maildrop

    queue_id = QueueIdGenerator(random.SystemRandom()).next(SystemClock().now())
    try:
        Maildrop(config.spool.base).leave(queue_id, envelope, content, _user())
    except PermissionError as error:
        text = f"no server runs, and {error.filename} cannot be written by this user"
        raise Refused(text, EX_TEMPFAIL) from error
    except OSError as error:
        raise Refused(f"cannot leave the message: {error}", EX_TEMPFAIL) from error
    return queue_id


def compose(
    options: SendmailOptions, content: bytes, hostname: str, user: str
) -> tuple[Envelope, bytes]:
    """Return envelope and content, with the fields added that RFC 5322 asks for."""
    if content.startswith(b"From "):
        # The separator line of an mbox file is no field.
        content = content.partition(b"\r\n")[2]
    header = Header(content)
    sender = options.sender if options.sender is not None else user
    sender = _qualified(sender, hostname) if sender else ""
    notify = parse_notify(options.notify) if options.notify else Notify.UNSET
    recipients = _recipients(options, header, hostname, notify)
    if options.from_header:
        header.remove(BLIND)
    _complete(header, options.full_name, sender or f"MAILER-DAEMON@{hostname}", hostname)
    content = header.encode()
    for address in (sender, *(recipient.address for recipient in recipients)):
        if address and not is_address(address):
            raise Refused(f"not an address: {address!r}", EX_NOUSER)
    wishes = Wish(
        hold_for=options.hold_for, hold_until=options.hold_until,
        deliver_within=options.deliver_within, late=options.late,
    )  # fmt: skip
    try:
        wishes["priority"] = int(options.priority)
        terms = terms_of(SystemClock().now(), wishes)
    except ValueError as error:
        raise Refused(str(error), EX_USAGE) from error
    envelope = envelope_of(
        content, sender, recipients, envid=options.envid, ret=options.ret, terms=terms
    )
    return envelope, content


def _recipients(
    options: SendmailOptions, header: Header, hostname: str, notify: Notify
) -> tuple[Recipient, ...]:
    """Return whom the message goes to.

    With -t these are the addresses of the header and, as most programs expect today, those
    of the command line too.
    """
    addresses = list(options.recipients)
    if options.from_header:
        try:
            addresses += header.recipients()
        except ValueError as error:
            raise Refused(str(error), EX_DATAERR) from error
    found = dict.fromkeys(
        _qualified(address.strip().removeprefix("<").removesuffix(">"), hostname)
        for text in addresses
        for address in (text.split(",") if '"' not in text else (text,))
        if address.strip()
    )
    if not found:
        where = "in the header (To, Cc, Bcc)" if options.from_header else "on the command line"
        raise Refused(f"no recipients {where}", EX_USAGE)
    return tuple(Recipient(address, notify=int(notify)) for address in found)


def _complete(header: Header, full_name: str, sender: str, hostname: str) -> None:
    """Add what is missing: RFC 5322 §3.6 asks for From and Date, and wishes a Message-ID."""
    from email.utils import formataddr, formatdate

    resent = any(name.startswith(b"resent-") for name, _ in header.fields)
    prefix = "Resent-" if resent else ""
    now = SystemClock().now()
    if not header.has(f"{prefix}message-id".lower().encode()):
        unique = QueueIdGenerator(random.SystemRandom()).next(now)
        header.prepend(f"{prefix}Message-ID", f"<{unique}@{hostname}>")
    if not header.has(f"{prefix}date".lower().encode()):
        header.prepend(f"{prefix}Date", formatdate(now, localtime=True))
    if not header.has(f"{prefix}from".lower().encode()):
        name = "".join(c for c in full_name if c.isprintable())
        header.prepend(f"{prefix}From", formataddr((name, sender)) if name else sender)


def _read_message(options: SendmailOptions) -> bytes:
    """Read standard input to its end, or to a line that is a dot, unless -i is given."""
    stream = sys.stdin.buffer
    if options.dot_is_content:
        content = stream.read(SIZE_OCTETS_MAX + 1)
    else:
        pieces, size = list[bytes](), 0
        for line in stream:
            if line in (b".\n", b".\r\n", b"."):
                break
            pieces.append(line)
            size += len(line)
            if size > SIZE_OCTETS_MAX:
                break
        content = b"".join(pieces)
    if len(content) > SIZE_OCTETS_MAX:
        raise Refused(f"the message is longer than {SIZE_OCTETS_MAX} octets", EX_DATAERR)
    return with_crlf(content)


def _qualified(address: str, hostname: str) -> str:
    """Return an address with a domain: a name alone is one of this host."""
    return address if "@" in address else f"{address}@{hostname}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid{os.getuid()}"


def _configuration(options: SendmailOptions) -> Config:
    # -C names a file of sendmail in old scripts: only one of ours can be meant.
    path = Path(options.config) if options.config.endswith(".toml") else None
    return load(path, os.environ, {}, files=False).config


def _postroom(options: SendmailOptions, *words: str) -> int:
    from postroom.cli.main import main as postroom

    given = ["--config", options.config] if options.config.endswith(".toml") else []
    return postroom([*given, *words])


def _tell(text: str, code: int) -> int:
    print(f"sendmail: {text}", file=sys.stderr)
    return code
