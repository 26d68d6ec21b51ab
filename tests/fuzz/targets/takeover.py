"""Files of other systems' queues: Postfix, qmail, sendmail, Exim, Mailman's pickles.

Input: which system, the length of a first file (envelope or control file), the rest.

1. It is a message, or Unreadable says why not; nothing else, and no code of a pickle runs.
2. A message's addresses hold no control character, its content has CRLF ends only.
3. What the file does not have is not invented: content is of its octets.
"""

from __future__ import annotations

import pickle

from postroom.takeover import exim, mailman, postfix, qmail, sendmail
from postroom.takeover.value import Foreign, Unreadable, reverse_path_for
from tests.fuzz.draw import Draw
from tests.fuzz.target import Target, spelt

_NAME = "0123456789ABC"
_LISTS = {"a.lists.example": mailman.MailingList("a", "lists.example", 2)}


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    which = draw.number(4)
    first = draw.octets(draw.number(2000))
    rest = draw.rest()
    try:
        message = _parse(which, first, rest)
    except Unreadable as error:
        assert str(error)
        return
    assert message.reverse_path == "" or message.reverse_path.isprintable()
    for one in message.recipients:
        assert one.address.isprintable()
        assert reverse_path_for(message, one).isprintable()
    content = message.content
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
    assert message.arrived_at >= 0 and message.done >= 0


def _parse(which: int, first: bytes, rest: bytes) -> Foreign:
    match which:
        case 0:
            return postfix.parse(first + rest, _NAME)
        case 1:
            return qmail.parse(rest, tuple(first.split(b"\xff")), _NAME, 1.0)
        case 2:
            return sendmail.parse(first, rest, _NAME)
        case 3:
            return exim.parse(first, rest, b"", _NAME)
        case _:
            return mailman.parse(first + rest, _NAME, _LISTS)


def _record(kind: bytes, value: bytes = b"") -> bytes:
    return kind + bytes((len(value),)) + value


def _seed(which: int, first: bytes, rest: bytes = b"") -> bytes:
    return bytes((which,)) + len(first).to_bytes(2, "big") + first + rest


_POSTFIX = b"".join((
    _record(b"C", b"%15d %15d %15d %15d %15d %15d" % (5, 100, 1, 0, 5, 0)),
    _record(b"T", b"1700000000 1"), _record(b"S", b"a@b.example"), _record(b"R", b"c@d.example"),
    _record(b"M"), _record(b"N", b"A: b"), _record(b"N", b""), _record(b"X"), _record(b"E"),
))  # fmt: skip
_SENDMAIL = (
    b"V8\nT1700000000\nK0\nN0\nP30\nS<a@b.example>\nrRFC822; c@d.example\nRPFD:<c@d.example>\n"
    b"H??A: b\n.\n"
)
_EXIM = (
    b"0123456789ABC-H\nroot 0 0\n<a@b.example>\n1700000000 0\n-local\nXX\n1\nc@d.example\n\n"
    b"006  A: b\n"
)
_MAILMAN = pickle.dumps("From: a@b.example\n\nhi\n") + pickle.dumps(
    {"_parsemsg": True, "recips": ["c@d.example"], "listid": "a.lists.example", "version": 3}
)
TARGET = Target(
    "takeover",
    try_one,
    ["postroom.takeover"],
    seeds=[
        _seed(0, _POSTFIX),
        _seed(1, b"u1000\0p1\0Fa@b.example\0\xffTc@d.example\0", b"A: b\n\nx\n"),
        _seed(2, _SENDMAIL, b"body\n"),
        _seed(3, _EXIM, b"0123456789ABC-D\nbody\n"),
        _seed(4, _MAILMAN),
    ],
    words=spelt(
        r"\x80\x04 | c__builtin__\neval\n | \x8c | \x93 | R | . | ( | \x85 | \x94 | h\x00"
        r" | K\x01 | \x88 | }q\x00 | N\x80 | p\x00 | \xff | <> | \x00 | RPFD: | -H\n"
        r" | D\x01 | L\x02 | A\x00"
    ),
)
