"""The SMTP server's session: any octets, cut anywhere.

Input: a first octet of choices, then the stream of a client.

1. The replies, messages and the end are the same however the stream is cut.
2. Every reply is well formed: code, separator, text, CRLF; the lines of one share their code.
3. Memory is bounded: input that waits, and what the gate reserved; after the end none.
4. Content has no bare CR or LF, ends in CRLF, and where nothing but content is drawn it is
   what stands before the first CRLF.CRLF, unstuffed.
"""

from __future__ import annotations

import random
import re

from postroom.smtp.content_limits import ContentLimits
from postroom.smtp.server import COMMAND_OCTETS_MAX
from postroom.smtp.server_events import ClientRights
from postroom.smtp.server_terms import TermsOffered
from tests.fuzz.target import Target, spelt
from tests.unit.smtp_server_driver import Driver, settings

_SIZE_MAX = 600
_PENDING_MAX = 12_288
"""The longest line that is kept: of AUTH."""


def try_one(octets: bytes) -> None:
    """See the module."""
    choices, stream = octets[0] if octets else 0, octets[1:]
    if choices & 128:
        _check_end_of_data(stream, bool(choices & 1))
        return
    whole = _outcome(choices, [stream])
    single = [stream[at : at + 1] for at in range(len(stream))]
    assert _outcome(choices, single) == whole, "octet by octet it is another session"
    chance = random.Random(len(stream) * 256 + choices)
    cuts = sorted(chance.randrange(len(stream) + 1) for _ in range(5))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert _outcome(choices, pieces) == whole, f"cut at {cuts} it is another session"


def _check_end_of_data(content: bytes, normalise: bool) -> None:
    """Hold the first message of a DATA against a model that is too simple to be wrong."""
    one = Driver(settings(content=ContentLimits(100_000, 5, normalise)))
    said = one.send(_HELLO + _MAIL + _RCPT + b"DATA\r\n" + content + b"\r\n.\r\n")
    whole = b"\r\n" + content + b"\r\n.\r\n"
    lines = whole[: whole.index(b"\r\n.\r\n") + 2].split(b"\r\n")[1:-1]
    model = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
    is_clean = model.count(b"\r") == model.count(b"\n") == model.count(b"\r\n")
    if is_clean and model.lower().count(b"received:") < 5:
        assert one.content(0) == model
    elif not is_clean and not normalise:
        assert b"550 5.6.11" in said, "a bare CR or LF was let through"


def _outcome(choices: int, pieces: list[bytes]) -> tuple[object, ...]:
    normalise = bool(choices & 1)
    client = ClientRights("192.0.2.7", not choices & 2, bool(choices & 4), bool(choices & 8))
    limits = ContentLimits(_SIZE_MAX, 5, normalise, discard_octets_max=1_500)
    server = settings(
        content=limits,
        offers_auth=bool(choices & 16),
        offers_starttls=bool(choices & 32),
        recipients_max=3,
        messages_max=3,
        errors_max=6,
        terms=TermsOffered(3600.0, 5, 60.0),
    )
    one = Driver(server, client, tls="TLSv1.3" if choices & 64 else "")
    said = []
    received = 0
    for piece in pieces:
        if one.closed or one.tls_asked:
            break
        said.append(one.send(piece))
        received += len(piece)
        held = len(one.session._pending)
        assert held <= max(_PENDING_MAX, COMMAND_OCTETS_MAX) or b"\n" in one.session._pending
        assert one.gate.reserved <= _SIZE_MAX, "more was reserved than content may have"
    replies = b"".join(said)
    _check_replies(replies)
    for message in one.messages:
        content = b"".join(message.content)
        assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
        assert content == b"" or content.endswith(b"\r\n")
        assert len(content) <= _SIZE_MAX
        envelope = message.envelope
        for text in (envelope.reverse_path, envelope.envid, envelope.ret):
            assert text == "" or text.isprintable()
        assert 0 < len(envelope.recipients) <= 3
    kept = [(message.envelope, b"".join(message.content)) for message in one.messages]
    user = one.session.user
    one.session.abandon()
    assert one.gate.reserved == 0, "memory stays reserved after the end"
    return replies, kept, one.closed, one.tls_asked, user


def _check_replies(said: bytes) -> None:
    code = b""
    for line in said.split(b"\r\n")[:-1]:
        assert re.fullmatch(rb"[2-5]\d\d[ -][^\r\n\x00]*", line), f"not a line of a reply: {line!r}"
        assert len(line) <= 510, f"a reply line of {len(line) + 2} octets"
        assert not code or line[:3] == code, "two codes in one reply"
        code = line[:3] if line[3:4] == b"-" else b""
    assert said == b"" or (said.endswith(b"\r\n") and not code), "a reply is cut short"


_HELLO = b"EHLO c.example\r\n"
_MAIL = b"MAIL FROM:<a@b.example>\r\n"
_RCPT = b"RCPT TO:<c@d.example>\r\n"
TARGET = Target(
    "smtp-server",
    try_one,
    ["postroom.smtp"],
    seeds=[
        b"\x00" + _HELLO + _MAIL + _RCPT + b"DATA\r\nA: b\r\n\r\n..c\r\n.\r\nQUIT\r\n",
        b"\x01" + _HELLO + _MAIL + _RCPT + b"DATA\r\nx\n.\n\r.\r\n.\r\nMAIL FROM:<>\r\n",
        b"\x11" + _HELLO + _MAIL + _RCPT + b"BDAT 3\r\nab\rBDAT 2 LAST\r\n\nc" + _MAIL,
        b"\x50" + _HELLO + b"AUTH PLAIN AGFubmEAczNjcmV0\r\nAUTH LOGIN\r\n*\r\n",
        b"\x5f" + _HELLO + b"XCLIENT ADDR=192.0.2.1 HELO=x LOGIN=+41\r\n" + _HELLO + _MAIL,
        b"\x80.a\r\n..\r\n.b\r\n",
        b"\x81\n.\n\r.\r.\r\n\r\n.\n",
        b"\x20" + _HELLO + b"STARTTLS\r\n" + _MAIL,
        b"\x00" + _HELLO + b'MAIL FROM:<@x,@y:"a b"@[IPv6:::1]> SIZE=9 BODY=8BITMIME RET=FULL'
        b" ENVID=a+2Bb SMTPUTF8 HOLDFOR=60 BY=120;RT MT-PRIORITY=3\r\n"
        b"RCPT TO:<postmaster> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b\r\nRSET\r\n",
    ],
    words=[
        _HELLO,
        _MAIL,
        _RCPT,
        *spelt(
            r"HELO x\r\n | DATA\r\n | \r\n.\r\n | BDAT 4 LAST\r\n | BDAT 0\r\n | RSET\r\n"
            r" | NOOP\r\n | QUIT\r\n | VRFY x\r\n | HELP\r\n | STARTTLS\r\n | AUTH PLAIN"
            r" | AUTH LOGIN\r\n | XCLIENT | ADDR= | LOGIN= |  SIZE= |  BODY= |  SMTPUTF8"
            r" |  RET=HDRS |  ENVID= |  NOTIFY= |  ORCPT=rfc822; |  ORCPT=utf-8;\\x{41}"
            r" |  HOLDUNTIL= |  HOLDFOR= |  BY= |  MT-PRIORITY= | Received: x\r\n"
            r" | GET / HTTP/1.1\r\n | \xc3\xa9 |  AUTH=<>"
        ),
    ],
)
