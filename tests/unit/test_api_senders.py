"""A token for some senders: no header, however it is written, shows people another author."""

from __future__ import annotations

import pytest

from postroom.api.injection import foreign_author

OURS = ("shop.example", "boss@other.example")
GOOD = b"From: a@shop.example\r\n"


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        b"From: Shop <news@SHOP.example>\r\n",
        b'from:\r\n "A, B" <a@shop.example>,\r\n boss@other.example\r\n',
        b'Subject: x\r\nFrom: "@team" <a@shop.example>\r\n',
    ],
)
def test_its_own_are_right(header: bytes) -> None:
    assert foreign_author(header + b"\r\nFrom: x@bank.example\r\n", OURS) is None
    assert foreign_author(header, OURS) is None


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Subject: x\r\n",
        b"From: ceo@bank.example\r\n",
        GOOD + b"From: ceo@bank.example\r\n",
        # RFC 5322 §4.5: an old form has space before the colon.
        GOOD + b"From : ceo@bank.example\r\n",
        GOOD + b"FROM\t:ceo@bank.example\r\n",
        GOOD + b"no field\r\nFrom: ceo@bank.example\r\n",
        b"From me\r\n" + GOOD,
        b"From: ceo@bank.example <a@shop.example>\r\n",
        b'From: "ceo@bank.example" <a@shop.example>\r\n',
        b"From: a@shop.example, x@other.example\r\n",
        b"From: <ceo@bank.example> <a@shop.example>\r\n",
        b"From: a@shop.example]<ceo@bank.example>\r\n",
        b"From: a@shop.example.bank.example\r\n",
        b"From: undisclosed:;\r\n",
    ],
)
def test_others_are_refused(header: bytes) -> None:
    assert foreign_author(header + b"\r\nbody\r\n", OURS) is not None


@pytest.mark.parametrize("field", [b"From:", b"From: ", b"From :a@b.example"])
def test_a_from_that_names_nobody_or_ends_the_header_for_some_is_nobodys(field: bytes) -> None:
    assert foreign_author(field + b"\r\nTo: c@d.example\r\n\r\n", ("b.example",)) == "nobody"
