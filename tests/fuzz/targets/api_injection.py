"""Bodies and queries of the routes of the HTTP API that take mail.

Input: which route, then JSON, or MIME with a query before it.

1. It is messages, or a problem (400, 413, 422) that names its field; never another exception.
2. A message that is made is one: it parses with the email package without defects, has each of
   its fields once, CRLF line ends and no line above 998 octets in its header.
3. The envelope is one that a queue takes or refuses by a reply.
"""

from __future__ import annotations

import email
import email.policy

from postroom.api.composer import MessageIn, compose
from postroom.api.injection import Batch, RawQuery, raw_message
from postroom.api.outgoing import Outgoing
from postroom.api.problem import Problem
from postroom.client.submission import parse_notify
from postroom.config.loader import load_text
from postroom.console.decode import json_body, parameters
from postroom.ingress.local import envelope_fault
from postroom.smtp.server_terms import TermsOffered, fault_of
from tests.fuzz.draw import Draw
from tests.fuzz.target import Target, spelt

_NOW = 1_700_000_000.0
_CONFIG = load_text(None, None, {"HOME": "/h"}, {}, files=False).config
_OFFERED = TermsOffered(1e9, 9, 1.0)
_ONCE = ("from", "subject", "date", "mime-version", "to", "cc", "content-type", "message-id")


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    which = draw.number(2)
    try:
        made = (_message, _batch, _raw)[which](draw)
    except Problem as problem:
        assert problem.status in (400, 413, 422) and str(problem)
        return
    for one in made:
        _check(one, is_made=which != 2)


def _message(draw: Draw) -> list[Outgoing]:
    return compose(json_body(draw.rest(), MessageIn), _CONFIG, _NOW)


def _batch(draw: Draw) -> list[Outgoing]:
    batch = json_body(draw.rest(), Batch)
    found = []
    for number, one in enumerate(batch.messages[:5]):
        found += compose(one, _CONFIG, _NOW, number)
    return found


def _raw(draw: Draw) -> list[Outgoing]:
    pairs = [tuple(one.partition("=")[::2]) for one in draw.text(200).split("&") if one]
    query = parameters(pairs, RawQuery, "parameter")
    return [raw_message(draw.rest(), query, _NOW)]


def _check(one: Outgoing, *, is_made: bool) -> None:
    content = one.content
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
    fault = envelope_fault(one.envelope, 1000)
    assert fault is None or fault.code >= 400
    terms = one.envelope.terms
    if terms is not None:
        refusal = fault_of(terms, _OFFERED, _NOW)
        assert refusal is None or refusal.code >= 400
    if not is_made:
        return
    head = content.partition(b"\r\n\r\n")[0]
    assert all(len(line) <= 998 for line in head.split(b"\r\n"))
    parsed = email.message_from_bytes(content, policy=email.policy.compat32)
    assert not parsed.defects
    for name in _ONCE:
        assert len(parsed.get_all(name, [])) <= 1, f"{name} stands twice"
    assert parsed["from"] is not None and parsed["subject"] is not None
    assert parse_notify("never") and one.envelope.recipients


_JSON = (
    b'{"from":"a@b.example","to":["c@d.example",{"address":"e@f.example","name":"E F"}],'
    b'"subject":"hi","text":"hello"}'
)
_RICH = (
    b'{"from":{"address":"a@b.example","name":"\\u00c9 \\"x\\""},"to":[{"address":"c@d.example",'
    b'"substitutions":{"n":"1"}}],"subject":"hi {{n}}","text":"t{{n}}","html":"<p>{{n}}</p>",'
    b'"headers":{"X-A":"b"},"tag":"t","attachments":[{"name":"a.txt","content":"aGk=","type":'
    b'"text/plain","content_id":"i"}],"send_at":"2026-12-01T08:00Z","priority":3,"notify":"never"}'
)
TARGET = Target(
    "api-injection",
    try_one,
    [
        "postroom.api.composer",
        "postroom.api.injection",
        "postroom.console.decode",
        "postroom.client",
    ],
    seeds=[
        b"\x00" + _JSON,
        b"\x00" + _RICH,
        b'\x01{"messages":[' + _JSON + b"," + _JSON + b"]}",
        b"\x02\x00From: a@b.example\r\nTo: c@d.example\r\n\r\nx",
        b"\x02\x20sender=a@b.example&recipient=c@d" + b"Subject: x\n\ny",
    ],
    words=spelt(
        r'"cc": | "bcc": | "reply_to": | "separate":true | "sender":"" | "deliver_by":'
        r' | "late":"return" | "envid": | "ret":"full" | "notify": | "html": | "headers":{'
        r' | "attachments":[ | \\r\\n | \\u0000 | \\ud83d\\ude00 | \\u2028'
        r' | =?utf-8?q?=0A?= | {{n}} | \xff | "a b"@ | <a@b> | , | x@y, | ;'
        r' | "List-Unsubscribe":"<https://x>" | undisclosed:; | (c) | \\" | @[192.0.2.1]'
        r" | =?b?"
    ),
)
