"""Messages made of their parts: MIME that others read, and mistakes that name the field."""

from __future__ import annotations

import email
from email.message import EmailMessage
from email.policy import default
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.api.composer import MessageIn, compose
from postroom.api.problem import Problem
from postroom.config.model import Config
from postroom.ingress.local_protocol import has_bare_newline
from postroom.spool.policy import SpoolPolicy
from tests.support.examples import examples

CONFIG = Config(hostname="mail.example", spool=SpoolPolicy(base="/x"), tag_header="X-Tag")
NOW = 1_796_000_000.0
GOOD: dict[str, Any] = {"from": "a@b.example", "to": ["c@d.example"], "text": "x"}


def made(**more: Any) -> list[tuple[Any, EmailMessage]]:
    body = msgspec.convert({**GOOD, **more}, MessageIn)
    found = compose(body, CONFIG, NOW)
    messages = [email.message_from_bytes(one.content, policy=default) for one in found]
    return [(one.envelope, message) for one, message in zip(found, messages, strict=True)]


def test_everybody_is_in_the_envelope_once_and_the_blind_are_not_in_the_header() -> None:
    [(envelope, message)] = made(
        to=["c@d.example", "Ä B <e@f.example>"], cc=["c@d.example"], bcc=["g@h.example"]
    )
    addresses = [one.address for one in envelope.recipients]
    assert addresses == ["c@d.example", "e@f.example", "g@h.example"]
    assert message["To"] == "c@d.example, Ä B <e@f.example>"
    assert "g@h.example" not in message.as_string()
    assert envelope.reverse_path == "a@b.example"
    assert message["Date"].datetime.timestamp() == NOW


def test_text_html_and_files_nest_as_readers_expect() -> None:
    files = [
        {"name": "l.png", "type": "image/png", "content": b"p", "content_id": "l"},
        {"name": "b.pdf", "type": "application/pdf", "content": b"%"},
    ]
    [(_, message)] = made(html="<img src='cid:l'>", attachments=files, tag="spring")
    assert message.get_content_type() == "multipart/mixed"
    alternative, attached = message.iter_parts()
    assert alternative.get_content_type() == "multipart/alternative"
    text, related = alternative.iter_parts()
    assert text.get_content().strip() == "x"
    assert related.get_content_type() == "multipart/related"
    assert attached.get_filename() == "b.pdf"
    assert message["X-Tag"] == "spring"


def test_terms_are_those_of_the_queue() -> None:
    [(envelope, _)] = made(
        send_at="2027-01-01T00:00Z", deliver_by="2027-01-01T01:00Z", late="return", priority=3,
        notify="success,failure", ret="hdrs", envid="e1",
    )  # fmt: skip
    terms = envelope.terms
    assert terms is not None
    assert (terms.deliver_by - terms.release_at, terms.by_mode, terms.priority) == (3600, "R", 3)
    assert (envelope.ret, envelope.envid) == ("HDRS", "e1")
    assert envelope.recipients[0].notify != 0


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"send_at": "2020-01-01T00:00Z"}, "send_at"),
        ({"deliver_by": "2020-01-01T00:00Z"}, "deliver_by"),
        ({"late": "return"}, "late"),
        ({"deliver_by": "2027-01-01T00:00Z", "late": "x"}, "late"),
        ({"notify": "sometimes"}, "notify"),
        ({"ret": "all"}, "ret"),
        ({"sender": "not an address"}, "sender"),
        ({"separate": True, "cc": ["x@y.example"]}, "cc"),
        ({"headers": {"Content-Type": "text/plain"}}, "headers.Content-Type"),
        ({"headers": {"X Y": "z"}}, "headers.X Y"),
        ({"from": "a@b.example, c@d.example"}, "from"),
        ({"from": {"address": "a@b.example", "name": "x\r\ny"}}, "from"),
        ({"tag": "a\r\nb"}, "subject"),
        ({"attachments": [{"name": "../x", "content": b""}]}, "attachments[0].name"),
        ({"to": [f"r{i}@d.example" for i in range(1001)]}, "to"),
    ],
)
def test_a_mistake_names_its_field(more: dict[str, Any], field: str) -> None:
    with pytest.raises(Problem) as caught:
        made(**more)
    assert (caught.value.status, caught.value.body.field) == (422, field)


TEXT = st.text(max_size=60)


@examples(200)
@given(subject=TEXT, text=TEXT, html=TEXT, name=TEXT, value=TEXT)
def test_whatever_is_written_becomes_one_message_or_a_mistake(
    subject: str, text: str, html: str, name: str, value: str
) -> None:
    try:
        found = made(
            subject=subject, text=text, html=html, headers={"X-A": value},
            **{"from": {"address": "a@b.example", "name": name}},
        )  # fmt: skip
    except Problem as problem:
        assert problem.status == 422
        return
    [(_, message)] = found
    body = msgspec.convert({**GOOD, "text": text, "html": html}, MessageIn)
    assert not has_bare_newline(compose(body, CONFIG, NOW)[0].content)
    # No field but ours, whatever stood in a value.
    assert {one.lower() for one in message} <= {
        "from", "to", "subject", "date", "x-a", "mime-version", "content-type",
        "content-transfer-encoding",
    }  # fmt: skip


BREAK = "=?utf-8?q?x=0D=0AEvil:_1=0D=0A=0D=0Abody?="


@pytest.mark.parametrize(
    "more",
    [
        {"subject": BREAK},
        {"subject": "=?utf-8?b?eApFdmlsOiAx?="},
        {"subject": "{{a}}", "to": [{"address": "c@d.example", "substitutions": {"a": BREAK}}]},
        {"headers": {"X-Campaign": BREAK}},
        {"tag": BREAK},
        {"from": {"address": "a@b.example", "name": BREAK}},
        {"to": [{"address": "c@d.example", "name": BREAK}]},
        {"reply_to": [{"address": "c@d.example", "name": BREAK}]},
        {"attachments": [{"name": BREAK, "content": b"x"}]},
    ],
)
def test_no_value_makes_a_second_field(more: dict[str, Any]) -> None:
    with pytest.raises(Problem) as caught:
        made(**more)
    assert caught.value.status == 422
    assert "line ends" in caught.value.body.detail


def test_words_that_are_encoded_without_line_ends_are_as_they_were() -> None:
    [(_, message)] = made(subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=")
    assert message["Subject"] == "Grüße"


def test_a_long_address_in_a_field_stays_one_that_readers_find() -> None:
    address = f"<https://shop.example/u/{'y' * 300}>"
    body = msgspec.convert({**GOOD, "headers": {"List-Unsubscribe": address}}, MessageIn)
    [one] = compose(body, CONFIG, NOW)
    assert address.encode() in one.content
    assert max(map(len, one.content.split(b"\r\n"))) <= 998
