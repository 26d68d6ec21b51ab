"""Domains in one form."""

from __future__ import annotations

import pytest

from postroom.routing.destination import RoutingFailure
from postroom.routing.names import literal_address, normalise


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("example.org", "example.org"),
        ("Example.ORG.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER。example", "xn--bcher-kva.example"),
        ("under_score.example", "under_score.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:DB8:0::1]", "[ipv6:2001:db8::1]"),
    ],
)
def test_a_domain_is_normalised(given: str, normal: str) -> None:
    assert normalise(given) == normal
    assert normalise(normal) == normal


@pytest.mark.parametrize(
    "text",
    ["a..b", ".a", "-a.org", "a b", "x" * 64 + ".org", "a." * 127 + "org", "[192.0.2.256]",
     "[2001:db8::1]", "[x", "\u2488com", "a\r\nb", "."],
)  # fmt: skip
def test_what_can_be_no_domain_fails_for_good(text: str) -> None:
    with pytest.raises(RoutingFailure) as caught:
        normalise(text)
    assert caught.value.reply.code == 550
    assert caught.value.reply.enhanced == "5.1.2"
    assert caught.value.reply.text.isprintable()


def test_an_address_literal_gives_its_address() -> None:
    assert literal_address("[192.0.2.1]") == "192.0.2.1"
    assert literal_address("[IPv6:2001:db8::1]") == "2001:db8::1"
    assert literal_address("::1") == "::1"
    assert literal_address("mx1.example.org") is None
    assert literal_address("mx1") is None
