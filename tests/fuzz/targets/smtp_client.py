"""The SMTP and LMTP client's session against a server that says anything.

Input: choices, the size of the pieces (0: lines, as in a dialogue), content (its length first),
then what the server says.

1. It ends: when the server has no more to say and the connection is lost, the session is closed
   and every transaction has a failure or a reply for each recipient.
2. An outcome fits its reply: a failure is of the causes of the table, a reply has a code that a
   server may give.
3. After DATA the server finds the end of data once, at the end of what was written, and taking
   the dots off gives the content again.
4. The same octets give the same replies whatever pieces they come in, and what is kept is
   bounded.
5. Credentials are in no dialogue and no reply.
"""

from __future__ import annotations

import re

from postroom.core.message import Envelope, Notify, Recipient
from postroom.smtp.client import ClientSession
from postroom.smtp.client_options import ClientOptions, Credentials
from postroom.smtp.client_states import Cause, State
from postroom.smtp.client_transaction import DotStuffer, Transaction
from postroom.smtp.reply_reader import (
    LINE_OCTETS_MAX,
    REPLY_LINES_MAX,
    TEXT_OCTETS_MAX,
    ReplyReader,
)
from tests.fuzz.draw import Draw
from tests.fuzz.target import Target, spelt

_PASSWORD = "s3cret-word"
_ENDS = (b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r")


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    choices = draw.number(255)
    size = draw.number(255)
    content = draw.piece(255)
    said = draw.rest()
    _check_stuffing(content, size or 7)
    content = b"C: " + content.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    _session(choices, content, [said])
    cut = pieces_of(said, size)
    _session(choices, content, cut)
    _check_reader(said, cut)


def pieces_of(said: bytes, size: int) -> list[bytes]:
    """Return octets in pieces of one size; 0: in lines."""
    if not size:
        return said.splitlines(keepends=True)
    return [said[at : at + size] for at in range(0, len(said), size)]


def _check_reader(said: bytes, pieces: list[bytes]) -> None:
    whole, cut = ReplyReader(), ReplyReader()
    replies = whole.feed(said)
    assert [one for piece in pieces for one in cut.feed(piece)] == replies, "cut they differ"
    assert cut.broken == whole.broken or not said.endswith(b"\n")
    for reply in replies:
        assert 200 <= reply.code <= 599
        assert len(reply.text.encode()) <= 3 * TEXT_OCTETS_MAX
        assert "\r" not in reply.text and "\x00" not in reply.text
        again = ReplyReader().feed(reply.encode())
        assert len(again) == 1 and again[0].code == reply.code, "what is sent on is read again"


def _session(choices: int, content: bytes, pieces: list[bytes]) -> None:
    session = ClientSession(
        ClientOptions(
            "client.example",
            "mx.example",
            lmtp=bool(choices & 8),
            starttls=bool(choices & 16),
            starttls_required=bool(choices & 32),
            credentials=Credentials("anna", _PASSWORD) if choices & 64 else None,
            clear_auth=bool(choices & 128),
            detect_loop=True,
        )
    )
    written: list[bytes] = []
    begun: list[Transaction] = []

    def go_on() -> None:
        while session.is_settled and session.state is not State.CLOSED:
            if session.state is State.HANDSHAKE:
                written.append(session.secured())
            elif session.state is State.CONTENT:
                transaction = begun[-1]
                _check_wire(transaction.stuffed(), content)
                written.append(transaction.stuffed())
                session.content_sent()
            elif len(begun) == 3:
                return
            else:
                transaction = _transaction(choices, content)
                begun.append(transaction)
                octets = session.begin(transaction)
                assert not octets or octets.count(b"\n") == octets.count(b"\r\n")
                written.append(octets)

    for piece in pieces:
        go_on()
        if session.state is State.CLOSED:
            break
        octets = session.receive(piece)
        if (b"\r\n" + octets).endswith(b"\r\n.\r\n"):
            # A server that answers before it is asked gets commands and content in one write.
            is_command = octets.startswith((b"RCPT TO:", b"DATA\r\n"))
            _check_wire(octets.partition(b"DATA\r\n")[2] if is_command else octets, content)
        written.append(octets)
        assert len(session._reader._buffer) <= LINE_OCTETS_MAX, "a line without end is kept"
        assert session._reader._lines <= REPLY_LINES_MAX
    go_on()
    if session.state is not State.CLOSED:
        session.lost(Cause.LOST)
    assert session.state is State.CLOSED, "it does not end"
    assert session.failure is not None
    for transaction in begun:
        _check_outcome(transaction, bool(choices & 8))
    shown = [*session.dialogue, str(session.failure.reply)]
    assert not any(_PASSWORD in line or "czNjcmV0" in line for line in shown)
    assert b"\x00" not in b"".join(written[:2])


def _transaction(choices: int, content: bytes) -> Transaction:
    recipients = (
        Recipient("b@d.example", int(Notify.SUCCESS), "rfc822;x+y@z"),
        Recipient("é@d.example" if choices & 4 else "c@d.example"),
    )
    envelope = Envelope(
        "a@b.example", recipients, envid="a b=c", ret="HDRS",
        eight_bit=bool(choices & 2), smtputf8=bool(choices & 4),
    )  # fmt: skip
    return Transaction(envelope, len(content), (content,))


def _check_outcome(transaction: Transaction, lmtp: bool) -> None:
    replies = [*transaction.rcpt_replies, *transaction.final_replies]
    if transaction.failure is not None:
        assert transaction.failure.cause is not Cause.ACCEPTED
        replies.append(transaction.failure.reply)
    else:
        assert len(transaction.rcpt_replies) == 2, "a recipient without a reply"
        wanted = transaction.accepted if lmtp else min(1, transaction.accepted)
        assert len(transaction.final_replies) == wanted, "the content has no reply"
    for reply in replies:
        assert 200 <= reply.code <= 599
        assert not any(one in reply.text for one in "\r\x00")
    for reply in transaction.rcpt_replies:
        assert not reply.is_intermediate


def _check_wire(stuffed: bytes, content: bytes) -> None:
    """What stands behind DATA ends at its end and nowhere else, and is the content."""
    if stuffed == b".\r\n":
        return  # nobody wants the content
    at = (b"\r\n" + stuffed).find(b"\r\n.\r\n")
    assert at + 5 == len(stuffed) + 2, "the end of data stands early"
    assert _by_lines(stuffed[:-3]) == content


def _by_lines(body: bytes) -> bytes:
    return b"\n".join(line.removeprefix(b".") for line in body.split(b"\n"))


def _check_stuffing(content: bytes, size: int) -> None:
    """Any content at all, in pieces: no server finds the end of data in it, or it ends there."""
    stuffer = DotStuffer()
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    stuffed = b"".join(map(stuffer.stuff, pieces)) + stuffer.end()
    wire = b"\r\n" + stuffed
    for end in _ENDS:
        at = wire.find(end)
        assert at < 0 or at + len(end) == len(wire), f"{end!r} stands early in {stuffed!r}"
    assert wire.endswith(b"\r\n.\r\n")
    model = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    if not content.endswith(b"\r"):
        # A dot is doubled behind each octet that some host takes for the end of a line.
        assert re.sub(rb"([\r\n])\.", rb"\1", wire[:-3])[2:] == model


_OPENING = b"220 mx.example hi\r\n250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 DSN\r\n"
_GOOD = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no\r\n354 go\r\n250 2.0.0 queued\r\n"
_LMTP = b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n250 x\r\n450 y\r\n"
_AUTH = b"220 x\r\n250-x\r\n250 AUTH PLAIN LOGIN\r\n"
_TLS = b"220 x\r\n250-x\r\n250-AUTH=LOGIN\r\n250 STARTTLS\r\n"
_OLD = b"220 x\r\n502 what\r\n250 old\r\n250 a\r\n250 b\r\n250 c\r\n"
TARGET = Target(
    "smtp-client",
    try_one,
    ["postroom.smtp"],
    seeds=[
        b"\x00\x00\x05a\n.b\n" + _OPENING + _GOOD + _GOOD,
        b"\x08\x04\x03..\n" + _OPENING + _LMTP,
        b"\x00\x10\x03a\n."
        + b"220 x\r\n250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 DSN\r\n"
        + _GOOD,
        b"\xc0\x20\x00" + _AUTH + b"334 \r\n235 2.7.0 ok\r\n250 a\r\n",
        b"\xd0\x20\x00" + _TLS + b"220 go\r\n250-x\r\n250 AUTH LOGIN\r\n",
        b"\x00\x01\x01." + _OLD + b"354 \r\n421 4.3.2 bye\r\n",
    ],
    words=[
        _OPENING,
        _GOOD,
        b"x" * 300,
        *spelt(
            r"250 ok\r\n | 250- | 354 go\r\n | 421 bye\r\n | 450 4.2.0 later\r\n | 550 5.1.1 no\r\n"
            r" | 334 \r\n | 235 ok\r\n | 220 go\r\n | 250 STARTTLS\r\n | 250-CHUNKING\r\n"
            r" | 250-8BITMIME\r\n | 250-SMTPUTF8\r\n | 250-SIZE 9\r\n | 250-DELIVERBY 60\r\n"
            r" | 250-AUTH PLAIN\r\n | 250-AUTH LOGIN\r\n | 250-MT-PRIORITY MIXER\r\n"
            r" | 501 client.example\r\n | \n.\r\n | \r\n.\r\n | mx.example"
        ),
    ],
)
