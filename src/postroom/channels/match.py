"""Which channel a domain belongs to.

Owns the rules of all channels, indexed once per configuration. A rule is an exact domain,
a suffix (".example.org": the domain and all below it), a pattern ("*.mail.*", where "*"
stands for any characters, dots too, and "?" for one) or "mx:" before one of these three,
which is then compared with the names of the domain's MX hosts, any of which may match.

The first rule in the order of the configuration wins; the last channel takes what no rule
names. Exact rules and suffixes are found by dictionary, so thousands cost nothing;
patterns are tried in order, and only those that stand before what was already found.

Guarantees: the answer is that of trying every rule in order.
Called by: routing.router, config.  Raises: ValueError for text that is no rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import idna
import msgspec

from postroom.channels.policy import ChannelPolicy

MX_PREFIX = "mx:"
_DOMAIN = re.compile(
    r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\Z"
    r"|\[(?:[0-9.]+|ipv6:[0-9a-f:.]+)\]\Z"
)
_PATTERN = re.compile(r"[a-z0-9_.*?\[\]:-]{1,253}\Z")
# Stand for "*" and "?" of a pattern when it is asked whether another pattern covers it.
_ANY, _ONE = "\x00", "\x01"


class Rule(msgspec.Struct, frozen=True):
    """One rule: the channel it belongs to, its text as written, its place in the order."""

    channel: ChannelPolicy
    text: str
    index: int

    def __str__(self) -> str:
        where = f" ({self.channel.origin})" if self.channel.origin else ""
        if not self.text:
            return f"channel {self.channel.name}{where}: takes what no other channel does"
        return f'channel {self.channel.name}{where}: rule "{self.text}"'


class Shadow(msgspec.Struct, frozen=True):
    """A rule that can never match, and an earlier one that takes its place."""

    rule: Rule
    by: Rule

    def __str__(self) -> str:
        return f"{self.rule} can never match: {self.by} comes first"


class RuleIndex:
    """Rules over one kind of name, to be found by name; holds the places of the rules."""

    __slots__ = ("_exact", "_patterns", "_suffixes", "first")

    def __init__(self) -> None:
        self._exact: dict[str, int] = {}
        self._suffixes: dict[str, int] = {}
        self._patterns: list[tuple[int, re.Pattern[str]]] = []
        self.first: int | None = None

    def add(self, place: int, rule: str) -> None:
        """Add a rule in its normal form; places rise from call to call."""
        if self.first is None:
            self.first = place
        if "*" in rule or "?" in rule:
            self._patterns.append((place, _compile(rule)))
        elif rule.startswith("."):
            self._suffixes.setdefault(rule[1:], place)
        else:
            self._exact.setdefault(rule, place)

    def find(self, name: str, limit: int) -> int:
        """Return the place of the first rule that matches, or `limit` if none before it."""
        best = limit
        place = self._exact.get(name)
        if place is not None and place < best:
            best = place
        suffixes = self._suffixes
        if suffixes:
            rest = name
            while rest:
                place = suffixes.get(rest)
                if place is not None and place < best:
                    best = place
                rest = rest.partition(".")[2]
        for place, pattern in self._patterns:
            if place >= best:
                break
            if pattern.match(name):
                return place
        return best


class ChannelTable:
    """The rules of one configuration, ready to be asked."""

    __slots__ = ("_default", "_domains", "_mx", "_rules", "_shadows")

    def __init__(self, channels: Sequence[ChannelPolicy]) -> None:
        """Index `channels`; the last one is the default and takes everything else."""
        assert channels, "a configuration always has a default channel"
        self._domains = RuleIndex()
        self._mx = RuleIndex()
        self._rules: list[Rule] = []
        self._shadows: list[Shadow] = []
        for channel in channels:
            for text in channel.match:
                self._add(channel, text)
        self._default = Rule(channels[-1], "", len(self._rules))
        self._rules.append(self._default)

    def match(self, domain: str, mx_hosts: Sequence[str] = ()) -> Rule:
        """Return the rule that decides for a domain (lower case, A-labels) and its MX hosts."""
        place = self._domains.find(domain, self._default.index)
        first_mx = self._mx.first
        if first_mx is not None and first_mx < place:
            for host in mx_hosts:
                place = self._mx.find(host, place)
        return self._rules[place]

    def decide(self, domain: str) -> Rule | None:
        """Return the rule for a domain, or None where its MX hosts must be known first."""
        place = self._domains.find(domain, self._default.index)
        first_mx = self._mx.first
        if first_mx is not None and first_mx < place:
            return None
        return self._rules[place]

    def shadowed(self) -> tuple[Shadow, ...]:
        """Return the rules that can never match, as far as rules alone can prove it."""
        return tuple(self._shadows)

    def _add(self, channel: ChannelPolicy, text: str) -> None:
        rule = Rule(channel, text, len(self._rules))
        self._rules.append(rule)
        normal, is_mx = normalise_rule(text)
        index = self._mx if is_mx else self._domains
        place = self._covered_by(normal, is_mx, rule.index)
        if place < rule.index:
            self._shadows.append(Shadow(rule, self._rules[place]))
        else:
            # What can never match need not be asked.
            index.add(rule.index, normal)

    def _covered_by(self, normal: str, is_mx: bool, limit: int) -> int:
        """Return the place of an earlier rule that takes all this one would, or `limit`."""
        names = (normal[1:], "*" + normal) if normal.startswith(".") else (normal,)
        marked = [name.replace("*", _ANY).replace("?", _ONE) for name in names]
        # A pattern "*" over domains takes everything, whatever the MX hosts are.
        everything = self._domains.find(_ANY, limit)
        if is_mx:
            return max(min(self._mx.find(name, limit), everything) for name in marked)
        return max(self._domains.find(name, limit) for name in marked)


def normalise_rule(text: str) -> tuple[str, bool]:
    """Return a rule in lower case and A-labels, and whether it is about MX hosts.

    Raises ValueError that says what was expected.
    """
    rule = text.strip().lower()
    is_mx = rule.startswith(MX_PREFIX)
    if is_mx:
        rule = rule[len(MX_PREFIX) :]
    if not rule.isascii():
        rule = ".".join(_to_a_label(label) for label in rule.split("."))
    if "*" in rule or "?" in rule:
        valid = _PATTERN.match(rule) is not None
    else:
        if len(rule) > 1:
            rule = rule.removesuffix(".")
        valid = _DOMAIN.match(rule.removeprefix(".")) is not None
    if not valid:
        raise ValueError(
            f'"{text}" is no rule: expected a domain ("gmail.com"), a suffix '
            '(".example.org"), a pattern ("*.mail.*") or one for MX hosts ("mx:*.google.com")'
        )
    return rule, is_mx


def to_a_labels(domain: str) -> str:
    """Return a domain as rules compare it: lower case, A-labels, no dot at its end."""
    name = domain.lower()
    if not name.isascii():
        name = ".".join(_to_a_label(label) for label in name.split("."))
    return name.removesuffix(".")


def _to_a_label(label: str) -> str:
    if label.isascii():
        return label
    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except idna.IDNAError:
        return label


def _compile(pattern: str) -> re.Pattern[str]:
    """Translate a pattern; atomic groups keep the time linear in the length of the name."""
    first, *rest = [
        re.escape(piece).replace(r"\?", f"[^{_ANY}]") for piece in re.split(r"\*+", pattern)
    ]
    if not rest:
        return re.compile(first + r"\Z")
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
    return re.compile(f"{first}{middle}.*{rest[-1]}\\Z", re.DOTALL)
