"""Channels are chosen by the first rule that matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.match import ChannelTable
from postroom.channels.policy import ChannelPolicy
from postroom.channels.rules import normalise_rule


def table(*channels: tuple[str, ...]) -> ChannelTable:
    named = [
        ChannelPolicy(name=f"c{number}", match=rules, origin=f"postroom.toml:{number + 1}")
        for number, rules in enumerate(channels)
    ]
    return ChannelTable([*named, ChannelPolicy(name="default", origin="postroom.toml:99")])


def chosen(channels: ChannelTable, domain: str, *hosts: str) -> str:
    return channels.match(domain, hosts).channel.name


def test_an_exact_rule_matches_only_that_domain() -> None:
    channels = table(("gmail.com",))
    assert chosen(channels, "gmail.com") == "c0"
    assert chosen(channels, "x.gmail.com") == "default"
    assert chosen(channels, "xgmail.com") == "default"


def test_a_suffix_matches_the_domain_and_all_below_it() -> None:
    channels = table((".example.org",))
    assert chosen(channels, "example.org") == "c0"
    assert chosen(channels, "a.b.example.org") == "c0"
    assert chosen(channels, "notexample.org") == "default"


def test_a_pattern_crosses_dots() -> None:
    channels = table(("*.mail.*", "a?.net"))
    assert chosen(channels, "x.mail.example.org") == "c0"
    assert chosen(channels, "mail.example.org") == "default"
    assert chosen(channels, "ab.net") == "c0"
    assert chosen(channels, "abc.net") == "default"


def test_an_mx_rule_looks_at_any_host() -> None:
    channels = table(("mx:*.google.com",), ("shop.example",))
    assert chosen(channels, "shop.example", "backup.example", "aspmx.l.google.com") == "c0"
    assert chosen(channels, "shop.example", "mx.shop.example") == "c1"


def test_mx_hosts_are_needed_only_where_an_mx_rule_might_come_first() -> None:
    channels = table(("gmail.com",), ("mx:*.google.com",), ("shop.example",))
    first = channels.decide("gmail.com")
    assert first is not None and first.channel.name == "c0"
    assert channels.decide("shop.example") is None
    assert channels.decide("other.example") is None
    assert table(("a.example",)).decide("other.example") is not None


def test_the_order_of_the_configuration_decides() -> None:
    assert chosen(table((".example.org",), ("a.example.org",)), "a.example.org") == "c0"
    assert chosen(table(("a.example.org",), (".example.org",)), "a.example.org") == "c0"
    assert chosen(table(("*",), ("a.example.org",)), "a.example.org") == "c0"


def test_rules_are_compared_without_case_and_in_a_labels() -> None:
    channels = table(("Bücher.Example", ".ÖSTERREICH.example", "GMAIL.com."))
    assert chosen(channels, "xn--bcher-kva.example") == "c0"
    assert chosen(channels, "wien.xn--sterreich-z7a.example") == "c0"
    assert chosen(channels, "gmail.com") == "c0"


def test_address_literals_can_be_named() -> None:
    channels = table(("[192.0.2.1]", "[IPv6:2001:db8::1]"))
    assert chosen(channels, "[192.0.2.1]") == "c0"
    assert chosen(channels, "[ipv6:2001:db8::1]") == "c0"


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", "user@example.org", "mx:", "a b", "-x.org", "*.a/b"]
)
def test_text_that_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rule: expected a domain"):
        normalise_rule(text)


def test_a_shadowed_rule_is_reported_with_both_places() -> None:
    channels = table((".example.org",), ("x.net", "a.example.org"))
    (shadow,) = channels.shadowed()
    assert str(shadow) == (
        'channel c1 (postroom.toml:2): rule "a.example.org" can never match: '
        'channel c0 (postroom.toml:1): rule ".example.org" comes first'
    )


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("a.org", "a.org"),
        (".org", ".a.org"),
        (".a.org", "*.a.org"),
        (".a.org", "x?.a.org"),
        ("*.org", "*.a.org"),
        ("*a.org", ".a.org"),
        ("*", "a.org"),
        ("*", "mx:*.google.com"),
        ("mx:*.google.com", "mx:aspmx.google.com"),
        ("a?.org", "ab.org"),
    ],
)
def test_an_earlier_rule_covers_a_later_one(earlier: str, later: str) -> None:
    assert len(table((earlier,), (later,)).shadowed()) == 1


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (".a.org", ".org"),
        ("*.a.org", ".a.org"),
        ("a?.org", "a*.org"),
        ("mx:*.org", "a.org"),
        ("a.org", "mx:a.org"),
        (".a.org", "*a.org"),
    ],
)
def test_a_rule_that_can_still_match_is_not_reported(earlier: str, later: str) -> None:
    assert table((earlier,), (later,)).shadowed() == ()


labels = st.sampled_from(["a", "b", "ab", "mail"])
domains = st.lists(labels, min_size=1, max_size=4).map(".".join)
patterns = st.lists(st.sampled_from(["a", "b", "*", "?", ".", "mail"]), min_size=1, max_size=6).map(
    "".join
)
plain_rules = st.one_of(
    domains, domains.map(".{}".format), patterns.filter(lambda p: "*" in p or "?" in p)
)
rules = st.one_of(plain_rules, plain_rules.map("mx:{}".format))


def naive(channels: list[tuple[str, ...]], domain: str, hosts: list[str]) -> str:
    for number, texts in enumerate(channels):
        for text in texts:
            wanted = hosts if text.startswith("mx:") else [domain]
            rule = text.removeprefix("mx:")
            if "*" in rule or "?" in rule:
                pattern = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in rule)
            elif rule.startswith("."):
                pattern = rf"(?:.*\.)?{re.escape(rule[1:])}"
            else:
                pattern = re.escape(rule)
            if any(re.fullmatch(pattern, name) for name in wanted):
                return f"c{number}"
    return "default"


@given(
    st.lists(st.lists(rules, max_size=4).map(tuple), max_size=5),
    domains,
    st.lists(domains, max_size=3),
)
def test_the_answer_is_that_of_trying_every_rule_in_order(
    channels: list[tuple[str, ...]], domain: str, hosts: list[str]
) -> None:
    made = table(*channels)
    assert chosen(made, domain, *hosts) == naive(channels, domain, hosts)
    decided = made.decide(domain)
    if decided is not None:
        assert decided.channel.name == naive(channels, domain, hosts)
