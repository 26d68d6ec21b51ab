"""Fields of a header, as a filter asks for them."""

from __future__ import annotations

import pytest

from postroom.engine.headers import HEADER_MAX_OCTETS, HeaderTests
from postroom.spool.query import HeaderTest

CONTENT = (
    b"Received: from a\r\n\tby b; now\r\nX-Id : one\r\nx-id:two  \r\n"
    b"Subject: a\r\n long\r\n\tone\r\n"
    b"Empty:\r\nLatin: gr\xfc\xdfe\r\nUtf: gr\xc3\xbc\xc3\x9fe\r\nno field\r\n\r\nX-Body: no\r\n"
)


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        (HeaderTest("X-Id"), True),
        (HeaderTest("X-None"), False),
        (HeaderTest("X-None", is_not=True), True),
        (HeaderTest("X-ID", ("TWO",)), True),
        (HeaderTest("x-id", ("three", "o*e")), True),
        (HeaderTest("x-id", ("one",), True), False),
        (HeaderTest("Subject", ("a long one",)), True),
        (HeaderTest("Received", ("from a by*",)), True),
        (HeaderTest("Empty", ("",)), True),
        (HeaderTest("Empty", ("?",)), False),
        (HeaderTest("Utf", ("grüße",)), True),
        (HeaderTest("Latin", ("gr*e",)), True),
        (HeaderTest("X-Body"), False),
        (HeaderTest("no"), False),
    ],
)
def test_a_field_is_found_by_name_and_value(test: HeaderTest, holds: bool) -> None:
    assert HeaderTests([test]).match(CONTENT) == holds


def test_all_must_hold_and_only_the_beginning_is_looked_at() -> None:
    both = [HeaderTest("X-Id"), HeaderTest("Subject", ("b",))]
    assert not HeaderTests(both).match(CONTENT)
    far = b"X: " + b"x" * HEADER_MAX_OCTETS + b"\r\nX-Id: one\r\n\r\n"
    assert not HeaderTests([HeaderTest("X-Id")]).match(far)
