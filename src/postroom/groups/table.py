"""Which group a message belongs to, recipient by recipient.

Owns the rules of all groups, indexed once per configuration. The first group in the order of
the configuration wins of which any rule matches: the recipient's domain, the reverse-path, the
listener or the user; the last group, the default one, takes everything else.

Pure.  Guarantees: the answer is that of trying every group in order.
Called by: engine.distributor, cli.explain, config.  Raises: ValueError for text that is no rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from postroom.channels.rules import RuleIndex, normalise_rule, to_a_labels
from postroom.core.message import Envelope, Provenance
from postroom.groups.policy import GroupPolicy


class Reason(msgspec.Struct, frozen=True):
    """Why mail belongs to a group: the kind of rule and its text; both "" for the default.

    `noun` is "class" where it is about classes, which have the same kinds of rules.
    """

    group: GroupPolicy
    kind: str = ""
    text: str = ""
    noun: str = "group"

    def __str__(self) -> str:
        where = f" ({self.group.origin})" if self.group.origin else ""
        if not self.kind:
            return f"{self.noun} {self.group.name}{where}: takes what no other {self.noun} does"
        return f'{self.noun} {self.group.name}{where}: {self.kind} "{self.text}"'


class _Words:
    """Exact words, each with the place of the first group that names it."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, str]] = {}

    def add(self, place: int, word: str, text: str) -> None:
        self._places.setdefault(word, (place, text))

    def find(self, word: str) -> tuple[int, str] | None:
        return self._places.get(word)


class GroupTable:
    """The groups of one configuration, ready to be asked."""

    def __init__(self, groups: Sequence[GroupPolicy]) -> None:
        """Index `groups`; the last one is the default and takes everything else."""
        assert groups, "a configuration always has a default group"
        self.groups = tuple(groups)
        self.is_single = len(groups) == 1
        """True where all mail belongs to one group."""
        self._domains, self._sender_domains = RuleIndex(), RuleIndex()
        self._rules: list[Reason] = []
        self._sender_rules: list[Reason] = []
        self._senders, self._listeners, self._users = _Words(), _Words(), _Words()
        self._place_of = {group.name: place for place, group in enumerate(groups)}
        for place, group in enumerate(groups):
            for text in group.match:
                normal, _ = normalise_rule(text)
                self._domains.add(len(self._rules), normal)
                self._rules.append(Reason(group, "recipients", text))
            for text in group.senders:
                if "@" in text:
                    self._senders.add(place, _address(text), text)
                else:
                    normal, _ = normalise_rule(text)
                    self._sender_domains.add(len(self._sender_rules), normal)
                    self._sender_rules.append(Reason(group, "sender", text))
            for text in group.listeners:
                self._listeners.add(place, text, text)
            for text in group.users:
                self._users.add(place, text, text)

    def reason(self, domain: str, reverse_path: str, listener: str, user: str) -> Reason:
        """Say which group mail belongs to, and by which rule.

        `domain` is of the recipient, as given; the others may be "" where there is none.
        """
        return self._first([*self._of_message(reverse_path, listener, user), self._of(domain)])

    def split(
        self, envelope: Envelope, provenance: Provenance
    ) -> list[tuple[GroupPolicy, tuple[int, ...]]]:
        """Sort the recipients of a message by group: (group, their indexes), in their order."""
        if self.is_single:
            return [(self.groups[0], tuple(range(len(envelope.recipients))))]
        of_message = self._of_message(envelope.reverse_path, provenance.listener, provenance.user)
        parts: dict[str, tuple[GroupPolicy, list[int]]] = {}
        for index, recipient in enumerate(envelope.recipients):
            group = self._first([*of_message, self._of(recipient.domain)]).group
            parts.setdefault(group.name, (group, []))[1].append(index)
        return [(group, tuple(indexes)) for group, indexes in parts.values()]

    def _first(self, found: list[Reason | None]) -> Reason:
        first = Reason(self.groups[-1])
        for reason in found:
            if reason is not None and (
                self._place_of[reason.group.name] < self._place_of[first.group.name]
            ):
                first = reason
        return first

    def _of(self, domain: str) -> Reason | None:
        place = self._domains.find(to_a_labels(domain), len(self._rules))
        return self._rules[place] if place < len(self._rules) else None

    def _of_message(self, reverse_path: str, listener: str, user: str) -> list[Reason | None]:
        found: list[Reason | None] = []
        for kind, words, word in (
            ("sender", self._senders, _address(reverse_path)),
            ("listener", self._listeners, listener),
            ("user", self._users, user),
        ):
            hit = words.find(word) if word else None
            found.append(Reason(self.groups[hit[0]], kind, hit[1]) if hit is not None else None)
        if self._sender_rules and "@" in reverse_path:
            domain = to_a_labels(reverse_path.rpartition("@")[2])
            place = self._sender_domains.find(domain, len(self._sender_rules))
            if place < len(self._sender_rules):
                found.append(self._sender_rules[place])
        return found


def shadowed(groups: Sequence[GroupPolicy]) -> list[str]:
    """Return a line for each rule that can never match, as far as rules alone can prove it."""
    lines: list[str] = []
    seen: dict[tuple[str, str], Reason] = {}
    table = GroupTable(groups)
    for group in groups:
        kinds = (
            ("recipients", group.match), ("sender", group.senders),
            ("listener", group.listeners), ("user", group.users),
        )  # fmt: skip
        for kind, texts in kinds:
            for text in texts:
                rule = Reason(group, kind, text)
                by = _covering(table, rule) or seen.get((kind, text.lower()))
                if by is not None and by != rule:
                    lines.append(f"{rule} can never match: {by} comes first")
                seen.setdefault((kind, text.lower()), rule)
    return lines


def _covering(table: GroupTable, rule: Reason) -> Reason | None:
    """Return an earlier rule for domains that takes all that a plain or suffix rule would."""
    if rule.kind != "recipients" or "*" in rule.text or "?" in rule.text:
        return None
    normal, _ = normalise_rule(rule.text)
    names = (normal[1:], f"x{normal}") if normal.startswith(".") else (normal,)
    found = [table.reason(name, "", "", "") for name in names]
    same = all(one == found[0] for one in found)
    return found[0] if same and found[0].kind else None


def _address(text: str) -> str:
    """Return an address in the form in which two are compared: the domain without case."""
    local, at, domain = text.strip("<>").rpartition("@")
    return f"{local}@{to_a_labels(domain)}" if at else text
