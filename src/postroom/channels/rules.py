"""Rules over names: exact ones, suffixes and patterns, to be found by name.

A rule is an exact domain, a suffix (".example.org": the domain and all below it), a pattern
("*.mail.*", where "*" stands for any characters, dots too, and "?" for one) or "mx:" before one
of these three, which is then about the names of MX hosts.

Guarantees: the first rule that matches is found, as by trying every rule in order.
Called by: channels.match, channels.message_rules, groups.table, config.
Raises: ValueError for text that is no rule.
"""

from __future__ import annotations

import re

import idna

MX_PREFIX = "mx:"
_DOMAIN = re.compile(
    r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\Z"
    r"|\[(?:[0-9.]+|ipv6:[0-9a-f:.]+)\]\Z"
)
_PATTERN = re.compile(r"[a-z0-9_.*?\[\]:-]{1,253}\Z")
# Stand for "*" and "?" of a pattern when it is asked whether another pattern covers it.
ANY, _ONE = "\x00", "\x01"


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

    def covered_by(self, rule: str, limit: int) -> int:
        """Return the place of an earlier rule that takes all this one would, or `limit`."""
        names = (rule[1:], "*" + rule) if rule.startswith(".") else (rule,)
        marked = [name.replace("*", ANY).replace("?", _ONE) for name in names]
        return max(self.find(name, limit) for name in marked)


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
        re.escape(piece).replace(r"\?", f"[^{ANY}]") for piece in re.split(r"\*+", pattern)
    ]
    if not rest:
        return re.compile(first + r"\Z")
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
    return re.compile(f"{first}{middle}.*{rest[-1]}\\Z", re.DOTALL)
