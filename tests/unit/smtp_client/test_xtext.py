"""xtext carries any text through ESMTP parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.smtp.xtext import decode_orcpt, decode_xtext, encode_orcpt, encode_xtext


def test_plus_equals_and_space_are_encoded() -> None:
    assert encode_xtext("a+b=c d") == "a+2Bb+3Dc+20d"


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_decoding_undoes_encoding(text: str) -> None:
    encoded = encode_xtext(text)
    assert encoded.isascii() and " " not in encoded and "=" not in encoded
    assert decode_xtext(encoded) == text


@pytest.mark.parametrize("text", ["a b", "a=b", "+2", "+2b", "\r\n"])
def test_what_is_not_xtext_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not xtext"):
        decode_xtext(text)


@pytest.mark.parametrize(
    "text",
    ["rfc822;a+b@c.test", "utf-8;grüße@b.test", "utf-8;\\é@b", "utf-8;é+a=b@c.test"],
)
def test_original_recipients_survive_the_way(text: str) -> None:
    encoded = encode_orcpt(text)
    assert encoded.isascii()
    assert decode_orcpt(encoded) == text


def test_an_internationalised_recipient_is_embedded_and_nothing_is_left_for_xtext() -> None:
    assert encode_orcpt("utf-8;é+\\@b.test") == r"utf-8;\x{E9}\x{2B}\x{5C}@b.test"
    assert decode_orcpt(r"utf-8;é\x{2B}@b.test") == "utf-8;é+@b.test"


@pytest.mark.parametrize("text", ["a@b.test", "rfc822;", "rfc822;gr\u00fc@b"])
def test_what_is_no_original_recipient_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an original recipient"):
        decode_orcpt(text)
