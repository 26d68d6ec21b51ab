"""Channels are chosen by the first rule that matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.match import ChannelTable
from postroom.channels.message_rules import Traits, message_rule
from postroom.channels.policy import ChannelPolicy
from postroom.channels.rules import normalise_rule

PLAIN = Traits("me@home.example")


def table(*channels: tuple[str, ...]) -> ChannelTable:
    named = [
        ChannelPolicy(name=f"c{number}", match=rules, origin=f"postroom.toml:{number + 1}")
        for number, rules in enumerate(channels)
    ]
    return ChannelTable([*named, ChannelPolicy(name="default", origin="postroom.toml:99")])


def chosen(channels: ChannelTable, domain: str, *hosts: str, traits: Traits = PLAIN) -> str:
    return channels.match(domain, hosts, channels.kind(traits)).channel.name


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
    ("rule", "traits", "matches"),
    [
        ("from:news@example.com", Traits("news@Example.COM"), True),
        ("from:news@example.com", Traits("News@example.com"), False),
        ("from:news+*@example.com", Traits("news+u=x.org@example.com"), True),
        ("from:news+*@example.com", Traits("news@example.com"), False),
        ("from:@example.com", Traits("anybody@example.com"), True),
        ("from:@example.com", Traits("anybody@a.example.com"), False),
        ("from:example.com", Traits("anybody@example.com"), True),
        ("from:.example.com", Traits("anybody@a.example.com"), True),
        ("from:.example.com", Traits("anybody@example.com"), True),
        ("from:@*.lists.*", Traits("x@a.lists.example"), True),
        ("from:<>", Traits(""), True),
        ("from:<>", Traits("a@b.example"), False),
        ("from:*", Traits("a@b.example"), True),
        ("from:*", Traits(""), False),
        ("from:@b\u00fccher.example", Traits("x@xn--bcher-kva.example"), True),
        ("tenant:shop", Traits("x@y.example", "shop"), True),
        ("tenant:shop", Traits("x@y.example", "Shop"), False),
        ("tag:News-*", Traits("", "", "news-2026"), True),
        ("tag:news", Traits("", "", "news-2026"), False),
        ("tag:*", Traits(""), False),
    ],
)
def test_a_rule_about_messages_matches(rule: str, traits: Traits, matches: bool) -> None:
    channels = table((rule,))
    assert chosen(channels, "x.example", traits=traits) == ("c0" if matches else "default")


def test_the_first_rule_wins_whether_it_is_about_message_or_domain() -> None:
    channels = table(("a.example",), ("tenant:shop",), ("b.example", "mx:*.google.com"))
    shop = Traits("x@y.example", "shop")
    assert chosen(channels, "a.example", traits=shop) == "c0"
    assert chosen(channels, "b.example", traits=shop) == "c1"
    assert chosen(channels, "c.example", "x.google.com", traits=shop) == "c1"
    assert chosen(channels, "b.example") == "c2"
    assert (channels.depends_on_kind("a.example"), channels.depends_on_kind("b.example")) == (
        False, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["from:", "from:a@", "from:a@.b.org", "from:mx:a.org", "from:a b@c.org", "tenant:",
             "tenant:a b", "tag:", "tag:.a", "tag:a b"]
)  # fmt: skip
def test_text_that_is_no_rule_about_messages_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rule: expected"):
        message_rule(text)


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
        ("*", "tenant:shop"),
        ("tenant:shop", "tenant:shop"),
        ("tag:news", "tag:NEWS"),
        ("tag:news*", "tag:news-1"),
        ("from:@a.org", "from:x@a.org"),
        ("from:.org", "from:*@a.org"),
        ("from:x*@a.org", "from:xy@a.org"),
        ("from:.a.org", "from:b.a.org"),
        ("from:<>", "from:<>"),
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
        ("tenant:shop", "a.org"),
        ("a.org", "from:@a.org"),
        ("from:x@a.org", "from:@a.org"),
        ("tenant:a", "tenant:A"),
        ("from:*", "from:<>"),
        ("tag:a", "tenant:a"),
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
message_rules = st.one_of(
    plain_rules.map("from:{}".format),
    st.tuples(labels, domains).map(lambda pair: f"from:{pair[0]}@{pair[1]}"),
    labels.map("tenant:{}".format),
    st.one_of(labels, patterns.filter(lambda p: "*" in p and p[0] != ".")).map("tag:{}".format),
    st.just("from:<>"),
)
rules = st.one_of(plain_rules, plain_rules.map("mx:{}".format), message_rules)
traits_of = st.builds(
    Traits,
    st.one_of(st.just(""), st.tuples(labels, domains).map("@".join)),
    st.one_of(st.just(""), labels),
    st.one_of(st.just(""), domains),
)


def names_for(text: str, domain: str, hosts: list[str], traits: Traits) -> tuple[list[str], str]:
    """Return what a rule is compared with, and the rest of its text."""
    sort, colon, rest = text.partition(":")
    path_domain = traits.reverse_path.rpartition("@")[2]
    match sort if colon else "":
        case "mx":
            return hosts, rest
        case "tenant":
            return [traits.tenant], rest
        case "tag":
            return [traits.tag] if traits.tag else [], rest
        case "from" if rest == "<>":
            return [traits.reverse_path or "<>"], rest
        case "from" if "@" in rest:
            return [traits.reverse_path], rest
        case "from":
            return [path_domain] if traits.reverse_path else [], rest
    return [domain], text


def naive(channels: list[tuple[str, ...]], domain: str, hosts: list[str], traits: Traits) -> str:
    for number, texts in enumerate(channels):
        for text in texts:
            wanted, rule = names_for(text, domain, hosts, traits)
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
    traits_of,
)
def test_the_answer_is_that_of_trying_every_rule_in_order(
    channels: list[tuple[str, ...]], domain: str, hosts: list[str], traits: Traits
) -> None:
    made = table(*channels)
    expected = naive(channels, domain, hosts, traits)
    assert chosen(made, domain, *hosts, traits=traits) == expected
    decided = made.decide(domain, made.kind(traits))
    if decided is not None:
        assert decided.channel.name == expected
    if not made.depends_on_kind(domain):
        assert made.match(domain, hosts).channel.name == expected
