"""Rules about a message as a whole: its reverse-path, its tenant, its tag.

    from:news@example.com    the reverse-path itself; "*" and "?" as in any pattern
    from:@example.com        a reverse-path of this domain
    from:.example.com        of this domain or one below it
    from:<>                  the null reverse-path: DSNs, ours and others'
    tenant:shop              the tenant that the message belongs to
    tag:newsletter           the tag in its header, without case; "*" and "?" too

They hold for all recipients of a message alike, so that the first one that matches, the kind
of the message, is found once. Which rule decides for a recipient depends on its domain and on
the kind alone.

Pure.  Guarantees: the first rule that matches is found, as by trying every rule in order.
Called by: channels.match, config.  Raises: ValueError for text that is no rule.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from postroom.channels.rules import RuleIndex, normalise_rule, to_a_labels

FROM, TENANT, TAG = "from:", "tenant:", "tag:"
NULL = "<>"
TAG_MAX = 100
"""Characters of a tag; a longer one in a header is no tag."""

_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?\Z")
_TAG = re.compile(r"(?!\.)[!-~]{1,100}\Z")
_ADDRESS = re.compile(r"(?!\.)[^\x00-\x20\x7f<>]{1,320}\Z")


class Traits(NamedTuple):
    """What rules about messages look at; each is "" where there is none.

    A reverse-path of "" is the null reverse-path.
    """

    reverse_path: str = ""
    tenant: str = ""
    tag: str = ""


class MessageRule(NamedTuple):
    """A rule in its normal form: `sort` is "from", "domain", "tenant" or "tag"."""

    sort: str
    text: str


class MessageRules:
    """The rules about messages of one configuration, by their places among all rules."""

    __slots__ = ("_domains", "_paths", "_tags", "_tenants", "first")

    def __init__(self) -> None:
        self._paths, self._domains = RuleIndex(), RuleIndex()
        self._tenants: dict[str, int] = {}
        self._tags = RuleIndex()
        self.first: int | None = None
        """The place of the first of them; None where there are none."""

    @property
    def need_tags(self) -> bool:
        """True where a rule asks for the tag."""
        return self._tags.first is not None

    def add(self, place: int, rule: MessageRule) -> None:
        """Add a rule; places rise from call to call."""
        if self.first is None:
            self.first = place
        if rule.sort == "tenant":
            self._tenants.setdefault(rule.text, place)
        else:
            self._index(rule.sort).add(place, rule.text)

    def find(self, traits: Traits, limit: int) -> int:
        """Return the place of the first rule that matches, or `limit` if none before it."""
        best = limit
        place = self._tenants.get(traits.tenant)
        if place is not None and place < best:
            best = place
        if traits.tag and self._tags.first is not None:
            best = self._tags.find(traits.tag, best)
        path = traits.reverse_path
        if self._paths.first is not None:
            best = self._paths.find(comparable(path), best)
        if self._domains.first is not None and "@" in path:
            best = self._domains.find(to_a_labels(path.rpartition("@")[2]), best)
        return best

    def covered_by(self, rule: MessageRule, limit: int) -> int:
        """Return the place of an earlier rule that takes all this one would, or `limit`."""
        if rule.sort == "tenant":
            return min(limit, self._tenants.get(rule.text, limit))
        best = self._index(rule.sort).covered_by(rule.text, limit)
        if rule.sort == "from" and "@" in rule.text:
            best = min(best, self._domains.covered_by(rule.text.rpartition("@")[2], limit))
        return best

    def _index(self, sort: str) -> RuleIndex:
        return {"from": self._paths, "domain": self._domains, "tag": self._tags}[sort]


def message_rule(text: str) -> MessageRule | None:
    """Return a rule about messages in its normal form; None where it is one about domains.

    Raises ValueError that says what was expected.
    """
    rule = text.strip()
    lower = rule.lower()
    if lower.startswith(TENANT):
        name = rule[len(TENANT) :].strip()
        if not _TENANT.match(name):
            raise ValueError(f'"{text}" is no rule: expected a tenant\'s name ("tenant:shop")')
        return MessageRule("tenant", name)
    if lower.startswith(TAG):
        tag = lower[len(TAG) :].strip()
        if not _TAG.match(tag):
            raise ValueError(f'"{text}" is no rule: expected a tag ("tag:newsletter")')
        return MessageRule("tag", tag)
    if lower.startswith(FROM):
        return _from(text, rule[len(FROM) :].strip())
    return None


def comparable(reverse_path: str) -> str:
    """Return a reverse-path in the form in which two are compared: the domain without case."""
    if not reverse_path:
        return NULL
    local, at, domain = reverse_path.rpartition("@")
    return f"{local}@{to_a_labels(domain)}" if at else reverse_path


def _from(text: str, path: str) -> MessageRule:
    if path == NULL:
        return MessageRule("from", NULL)
    local, _, domain = path.rpartition("@")
    try:
        if local and not _ADDRESS.match(local):
            raise ValueError
        name, is_mx = normalise_rule(domain)
        if is_mx or (local and name.startswith(".")):
            raise ValueError
    except ValueError:
        raise ValueError(
            f'"{text}" is no rule: expected an address ("from:news@example.com"), a domain '
            '("from:@example.com"), a suffix ("from:.example.com") or "from:<>"'
        ) from None
    return MessageRule("from", f"{local}@{name}") if local else MessageRule("domain", name)
