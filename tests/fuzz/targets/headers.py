"""Headers of messages: split and put back, looked through, counted, returned, put in front.

Input: choices, then content.

1. What a header is not told to change comes back octet for octet; what is removed is gone.
2. Looking for fields gives the same as a simple model; counting hops never fails.
3. Our Received header is valid whatever the client said: no line too long, none torn.
4. Content with CRLF ends has them only, and is the same where it had them.
"""

from __future__ import annotations

import email
import email.policy
import re

from postroom.api.injection import foreign_author
from postroom.client.header import Header, with_crlf
from postroom.client.submission import submission_of
from postroom.core.conditions import Names, NameTest
from postroom.core.ids import QueueId
from postroom.engine.headers import HeaderTests
from postroom.engine.tag import TagReader
from postroom.reports.returned import header_of
from postroom.smtp.local_trace import count_hops, local_received
from postroom.smtp.trace import DateText, received_header
from postroom.spool.query import HeaderTest
from tests.fuzz.draw import Draw
from tests.fuzz.target import Target, spelt


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    given = draw.choice((b"to", b"subject", b"from", b"bcc", b"x-postroom-tag"))
    client = draw.text(20)
    raw = draw.rest()
    content = with_crlf(raw)
    pairs = content.count(b"\r\n")
    assert content.count(b"\r") == content.count(b"\n") == pairs
    assert with_crlf(content) == content and (not content or content.endswith(b"\r\n"))
    _check_split(content, given)
    _check_search(content, given)
    returned = header_of(raw)
    assert raw.startswith(returned) and b"\r\n\r\n" not in returned
    assert 0 <= count_hops(content) <= content.lower().count(b"received:")
    _check_received(client)
    try:
        envelope, sent = submission_of(content, sender=None, recipients=None)
    except ValueError:
        pass
    else:
        assert envelope.recipients
        assert Header(sent).body == Header(content).body
        assert sent == content or Header(content).has(b"bcc") or Header(content).has(b"resent-bcc")
    wrong = foreign_author(content, ("b.example",))
    if wrong is None:
        seen = email.message_from_bytes(content, policy=email.policy.compat32)
        assert seen.get_all("from"), "an author is taken for ours that readers do not see"


def _check_split(content: bytes, name: bytes) -> None:
    header = Header(content)
    whole = b"".join(field for _, field in header.fields)
    assert content.startswith(whole) and header.encode().startswith(whole)
    if content[len(whole) :].startswith(b"\r\n"):
        assert header.encode() == content
    else:
        assert header.encode() == whole + b"\r\n" + content[len(whole) :]
    before = list(header.fields)
    header.remove([name])
    assert not header.has(name)
    assert header.fields == [one for one in before if one[0] != name]
    header.prepend("X-New", "1")
    assert header.encode().startswith(b"X-New: 1\r\n")
    try:
        for address in header.addresses(b"to", b"cc", b"from"):
            assert address
    except ValueError:
        pass


def _check_search(content: bytes, name: bytes) -> None:
    tests = HeaderTests([HeaderTest(name.decode())])
    head = content[: content.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in content else content
    unfolded = re.sub(rb"\r\n[ \t]+", b" ", head)
    model = [
        line.partition(b":")[2].strip()
        for line in unfolded.split(b"\n")
        if re.match(re.escape(name) + rb"[ \t]*:", line, re.IGNORECASE)
    ]
    assert tests.match(content) == bool(model)
    value = model[0].decode("utf-8", "replace")[:2000] if model else "none"
    is_there = any(
        NameTest(Names((value,))).accepts(one.decode("utf-8", "replace")[:2000]) for one in model
    )
    assert HeaderTests([HeaderTest(name.decode(), (value,))]).match(content) == is_there
    assert HeaderTests([HeaderTest(name.decode(), (value,), True)]).match(content) != is_there
    tag = TagReader(name.decode()).read((content,))
    assert tag == "" or tag.isprintable()


def _check_received(client: str) -> None:
    helo = re.sub(r"[^A-Za-z0-9._:\[\]/+=@-]", "", client) or "x"
    one = received_header(
        client="2001:db8::1", helo=helo, hostname="mx.example", protocol="ESMTP",
        queue_id="0" * 16, recipient="a@b.example", date=DateText().at(1e9),
    )  # fmt: skip
    for made in (one, local_received("mx.example", helo, QueueId("0" * 16), 1e9)):
        assert made.endswith(b"\r\n") and made.count(b"\r") == made.count(b"\n")
        lines = made[:-2].split(b"\r\n")
        assert all(len(line) <= 998 for line in lines)
        assert all(line.startswith(b"\t") for line in lines[1:])


TARGET = Target(
    "headers",
    try_one,
    [
        "postroom.client",
        "postroom.engine.headers",
        "postroom.engine.tag",
        "postroom.reports.returned",
        "postroom.smtp.trace",
        "postroom.api.injection",
    ],
    seeds=[
        b'\x00\x00From: a@b.example\r\nTo: c@d, "e f" <g@h>\r\nBcc: i@j\r\n'
        b"Subject: x\r\n y\r\n\r\nbody\r\n",
        b"\x01\x03abcFrom: A <a@b.example>\nTo: undisclosed:;\n\nx",
        b"\x04\x00X-Postroom-Tag: one\r\nReceived: x\r\nReceived: y\r\n\r\n",
        b"\x02\x00Resent-To: a@b\r\nFrom : a@b.example\r\n\tc@d\r\n\r\n",
    ],
    words=spelt(
        r"From: | To: | Bcc: | Resent-To: | \r\n  | \r\n\t | \r\n\r\n | \xff"
        r" | =?utf-8?q?a=0Ab?= | <a@b> | Received: | X-Postroom-Tag: one | a@b.example"
        r" |  : | (c) | \x00 | \n\r"
    ),
)
