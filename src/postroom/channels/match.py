"""Which channel the mail for a domain belongs to.

Owns the rules of all channels, indexed once per configuration. A rule is about the recipient's
domain, or with "mx:" about the names of its MX hosts, any of which may match (channels.rules);
or it is about the message as a whole (channels.message_rules).

The first rule in the order of the configuration wins, of whatever kind it is; the last channel
takes what no rule names. Exact rules and suffixes are found by dictionary, so thousands cost
nothing; patterns are tried in order, and only those that stand before what was already found.

The first rule about messages that a message matches is its kind: 1 and more, 0 where none
does. A configuration without such rules has only kind 0.

Guarantees: the answer is that of trying every rule in order.
Called by: routing.router, config.  Raises: ValueError for text that is no rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from postroom.channels.message_rules import MessageRules, Traits, message_rule
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

    __slots__ = ("_default", "_domains", "_messages", "_mx", "_rules", "_shadows")

    def __init__(self, channels: Sequence[ChannelPolicy]) -> None:
        """Index `channels`; the last one is the default and takes everything else."""
        assert channels, "a configuration always has a default channel"
        self._domains = RuleIndex()
        self._mx = RuleIndex()
        self._messages = MessageRules()
        self._rules: list[Rule] = []
        self._shadows: list[Shadow] = []
        for channel in channels:
            for text in channel.match:
                self._add(channel, text)
        self._default = Rule(channels[-1], "", len(self._rules))
        self._rules.append(self._default)

    @property
    def has_kinds(self) -> bool:
        """True where there are rules about messages."""
        return self._messages.first is not None

    @property
    def needs_tags(self) -> bool:
        """True where a rule asks for the tag of messages."""
        return self._messages.need_tags

    def kind(self, traits: Traits) -> int:
        """Return the kind of a message: of the first rule about messages that it matches."""
        place = self._messages.find(traits, self._default.index)
        return place + 1 if place < self._default.index else 0

    def kinds(self) -> Iterator[int]:
        """Give every kind that there is but 0."""
        for rule in self._rules:
            if message_rule(rule.text) is not None:
                yield rule.index + 1

    def depends_on_kind(self, domain: str) -> bool:
        """Say whether mail for a domain may go different ways by its kind."""
        first = self._messages.first
        return first is not None and first < self._domains.find(domain, self._default.index)

    def match(self, domain: str, mx_hosts: Sequence[str] = (), kind: int = 0) -> Rule:
        """Return the rule that decides for a domain (lower case, A-labels) and its MX hosts."""
        place = self._domains.find(domain, self._limit(kind))
        first_mx = self._mx.first
        if first_mx is not None and first_mx < place:
            for host in mx_hosts:
                place = self._mx.find(host, place)
        return self._rules[place]

    def decide(self, domain: str, kind: int = 0) -> Rule | None:
        """Return the rule for a domain, or None where its MX hosts must be known first."""
        place = self._domains.find(domain, self._limit(kind))
        first_mx = self._mx.first
        if first_mx is not None and first_mx < place:
            return None
        return self._rules[place]

    def shadowed(self) -> tuple[Shadow, ...]:
        """Return the rules that can never match, as far as rules alone can prove it."""
        return tuple(self._shadows)

    def _limit(self, kind: int) -> int:
        """Return the place of the rule that decides where none before it is about the domain."""
        # A kind of an earlier configuration may be beyond the rules there are; whoever asks
        # with one asks again.
        return kind - 1 if 0 < kind <= self._default.index else self._default.index

    def _add(self, channel: ChannelPolicy, text: str) -> None:
        rule = Rule(channel, text, len(self._rules))
        self._rules.append(rule)
        of_message = message_rule(text)
        # A pattern "*" over domains takes everything, whatever message and MX hosts are.
        place = self._domains.find(ANY, rule.index)
        if of_message is not None:
            place = min(place, self._messages.covered_by(of_message, rule.index))
        else:
            normal, is_mx = normalise_rule(text)
            index = self._mx if is_mx else self._domains
            place = min(place, index.covered_by(normal, rule.index))
        if place < rule.index:
            # What can never match need not be asked.
            self._shadows.append(Shadow(rule, self._rules[place]))
        elif of_message is not None:
            self._messages.add(rule.index, of_message)
        else:
            index.add(rule.index, normal)
