"""Reply rules: what a reply of a provider says about all mail for its site.

A rule has a provider (by the host that spoke, or by the recipient's domain; or any), stages of
the delivery (or any) and an expression, which is looked for in the reply as the log shows it:
code, enhanced status code, text, the lines joined by " / ". It says what is done: with the site,
with the outcome of this mail, or both. The first rule that fits is taken.

Pure.  Guarantees: a reply that no rule is for costs a look at each rule of its host.
Called by: delivery.tally, config.replies, cli.  Raises: nothing; ValueError from `Expression`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from postroom.core.expressions import TEXT_MAX, Expression
from postroom.core.reply import Reply
from postroom.smtp.client_states import Stage

HOSTS_MAX = 1000
"""Hosts of which it is remembered which rules are about them."""


class Action(enum.StrEnum):
    """What is done with a site. `SWITCH_SOURCE` is `BACK_OFF` where there is one source only."""

    NONE = "none"
    SUSPEND = "suspend"
    SLOW = "slow"
    BACK_OFF = "back-off"
    SWITCH_SOURCE = "switch-source"


STAGES: dict[str, tuple[Stage, ...]] = {
    "greeting": (Stage.GREETING,),
    "ehlo": (Stage.HELLO, Stage.TLS, Stage.AUTH),
    "mail": (Stage.MAIL,),
    "rcpt": (Stage.RCPT,),
    "data": (Stage.DATA, Stage.FINAL),
}
"""The stages as rules name them. Before the greeting no host has said anything."""


class ReplyRule(msgspec.Struct, frozen=True):
    """One rule.

    `hosts` and `domains` are names or, with a leading dot, names and all below; both empty: any
    provider. `stages` are words of STAGES, none: any. `action` holds for `for_s`. `outcome` is
    "", or what the mail's own outcome is taken for: "deferred" or "failed". `origin` is
    "file:line".
    """

    name: str
    match: str
    provider: str = ""
    hosts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    action: Action = Action.NONE
    for_s: float = 0.0
    outcome: str = ""
    origin: str = ""


class _Ready:
    """A rule with its expression."""

    __slots__ = ("expression", "rule", "stages")

    def __init__(self, rule: ReplyRule) -> None:
        self.rule = rule
        self.expression = Expression(rule.match)
        self.stages = frozenset(stage for word in rule.stages for stage in STAGES[word])


class ReplyRules:
    """All rules, in order."""

    __slots__ = ("_by_names", "_rules", "rules")

    def __init__(self, rules: Iterable[ReplyRule] = ()) -> None:
        self.rules = tuple(rules)
        self._rules = tuple(_Ready(rule) for rule in self.rules)
        self._by_names: dict[tuple[str, str], tuple[_Ready, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def find(self, stage: Stage, reply: Reply, host: str, domain: str = "") -> ReplyRule | None:
        """Return the first rule for what a host said; "" for a domain that does not count."""
        text = ""
        for ready in self._about(host.lower().rstrip("."), domain.lower()):
            if ready.stages and stage not in ready.stages:
                continue
            text = text or str(reply)[:TEXT_MAX]
            if ready.expression.is_in(text):
                return ready.rule
        return None

    def _about(self, host: str, domain: str) -> tuple[_Ready, ...]:
        known = self._by_names.get((host, domain))
        if known is None:
            known = tuple(one for one in self._rules if _is_about(one.rule, host, domain))
            if len(self._by_names) >= HOSTS_MAX:
                self._by_names.clear()
            self._by_names[host, domain] = known
        return known


def _is_about(rule: ReplyRule, host: str, domain: str) -> bool:
    if not rule.hosts and not rule.domains:
        return True
    return _is_any(host, rule.hosts) or _is_any(domain, rule.domains)


def _is_any(name: str, patterns: tuple[str, ...]) -> bool:
    return bool(name) and any(
        name == pattern.removeprefix(".") or (pattern.startswith(".") and name.endswith(pattern))
        for pattern in patterns
    )
