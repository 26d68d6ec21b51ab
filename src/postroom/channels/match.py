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

from collections.abc import Sequence

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.channels.rules import ANY, RuleIndex, normalise_rule


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
        # A pattern "*" over domains takes everything, whatever the MX hosts are.
        if is_mx:
            return min(self._mx.covered_by(normal, limit), self._domains.find(ANY, limit))
        return self._domains.covered_by(normal, limit)
