"""Settings of groups of queues and of classes of mail, and what must hold between them.

Called by: config.settings, config.build, config.checks.  Raises: Misread.
"""

from __future__ import annotations

from dataclasses import dataclass

from postroom.channels.rules import normalise_rule
from postroom.config.given import Gathered, Name
from postroom.config.kinds import Boolean, Choice, ListOf, Misread, Mistake, Place, Text, shown
from postroom.config.measures import Bound, Integer, Share
from postroom.config.model import Config
from postroom.config.schedules import RULE_MAX, Rated
from postroom.config.setting import Setting, Table
from postroom.groups.classes import ClassPolicy
from postroom.groups.policy import PLACEMENTS, GroupPolicy
from postroom.groups.table import shadowed


@dataclass(frozen=True, slots=True)
class DomainRule:
    """A rule for domains, kept as it was written; with `addresses` also a whole address."""

    addresses: bool = False

    @property
    def expected(self) -> str:
        """The forms."""
        rules = '"example.com", ".example.org" or "*.mail.*"'
        return f'"news@example.com", {rules}' if self.addresses else rules

    def read(self, given: object, place: Place) -> str:
        """Return the rule without blanks around it."""
        if not isinstance(given, str) or len(given) > RULE_MAX:
            raise Misread(Mistake(f"{shown(given)} is no rule", self.expected))
        rule = given.strip()
        local, at, domain = rule.rpartition("@")
        try:
            if at and not (self.addresses and local):
                raise ValueError
            _, is_mx = normalise_rule(domain)
        except ValueError:
            raise Misread(Mistake(f"{shown(given)} is no rule", self.expected)) from None
        if is_mx:
            hint = "a group is chosen before MX hosts are known; use a channel for these"
            raise Misread(Mistake(f"{shown(given)} is for MX hosts", self.expected, hint))
        return rule

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: str) -> str:
        """Return the rule."""
        return value


GROUP = Table(
    "group",
    "Queues with a policy of their own, and the mail that belongs to them. The first group in "
    "the file of which a rule matches is taken; `group.default` takes all other mail, and owns "
    "all queues that no other names.",
    GroupPolicy,
    (
        Setting(
            "queues", ListOf(Integer(1, 9999), most=64), "queues",
            "The numbers of its queues.", "[3, 4]",
            default="none; for `group.default`: all that no other group names",
        ),
        Setting(
            "placement", Choice(PLACEMENTS), "placement",
            "Which of its queues takes a message: `least-loaded`: the one that the message came "
            "to, unless it is more than half busy and another clearly less; `round-robin`: one "
            "after the other; `random`; `weighted`: by chance, by `weights`; `hash`: by the "
            "reverse-path, so that a sender's mail stays in one queue.", '"weighted"',
        ),
        Setting(
            "weights", ListOf(Integer(1, 1000), most=64), "weights",
            "The weights of its queues, in the order of `queues`.", "[70, 30]",
            default='none, and only for `placement = "weighted"` or `"hash"`',
        ),
        Setting(
            "sync", Choice(("full", "none")), "sync",
            "As `spool.sync`, for the queues of this group: `none` for mail that may be lost when "
            "the machine stops.", '"none"', default="`spool.sync`", restart=True,
        ),
        Setting(
            "match", ListOf(DomainRule(), most=10_000), "match",
            "Mail to these domains belongs to the group: a domain, `.suffix` (the domain and all "
            "below), or a pattern with `*`.", '["gmail.com", ".example.org"]', default="none",
        ),
        Setting(
            "senders", ListOf(DomainRule(addresses=True), most=10_000), "senders",
            "Mail with these reverse-paths belongs to it: an address, or a rule for its domain.",
            '["news@example.com", "lists.example.org"]', default="none",
        ),
        Setting(
            "listeners", ListOf(Text(64, "the name of a listener"), most=64), "listeners",
            "Mail that came in by these listeners belongs to it; programs of this machine come "
            "by `local`.", '["submission"]', default="none",
        ),
        Setting(
            "users", ListOf(Text(255, "a user name", ".+"), most=10_000), "users",
            "Mail of these authenticated users belongs to it.", '["newsletter"]', default="none",
        ),
        Setting(
            "concurrency", Bound(0, 1_000_000), "concurrency",
            "How many simultaneous attempts, and connections, its queues may have together; 0 "
            "holds their mail.", "500",
        ),
        Setting(
            "rate", Rated(), "rate",
            "How many messages its queues may send together in any interval of that length.",
            '"10000/1h"',
        ),
    ),
    named=True,
)  # fmt: skip


CLASS = Table(
    "class",
    "Mail that goes before or behind other mail of the same queue. The first class in the file "
    "of which a rule matches is taken; `class.default` takes all other mail.",
    ClassPolicy,
    (
        Setting(
            "priority", Integer(1, 9), "priority",
            "1 goes first, 9 last. A tenth of each limit is kept free for what goes first.",
            "1", default="5",
        ),
        Setting(
            "share", Share(0.0, 0.5), "share",
            "The part of all attempts that the class has at least while it has mail, whatever "
            "waits before it.", "0.1",
        ),
        Setting(
            "senders", ListOf(DomainRule(addresses=True), most=10_000), "senders",
            "Mail with these reverse-paths belongs to it: an address, or a rule for its domain.",
            '["shop@example.com"]', default="none",
        ),
        Setting(
            "listeners", ListOf(Text(64, "the name of a listener"), most=64), "listeners",
            "Mail that came in by these listeners belongs to it; programs of this machine come "
            "by `local`.", '["submission"]', default="none",
        ),
        Setting(
            "users", ListOf(Text(255, "a user name", ".+"), most=10_000), "users",
            "Mail of these authenticated users belongs to it.", '["shop"]', default="none",
        ),
        Setting(
            "mt_priority", Integer(-9, 9), "mt_priority",
            "Mail that asks for this priority (MT-PRIORITY) or a better one belongs to it; where "
            "it is negative, for this or a worse one.", "4", default="none",
        ),
        Setting(
            "reports", Boolean(), "reports",
            "Mail with the null reverse-path belongs to it: DSNs, ours and others'.", "true",
            default="false",
        ),
    ),
    named=True,
)  # fmt: skip


def check_classes(config: Config, gathered: Gathered) -> None:
    """Note what cannot be, and what is odd."""
    listeners = {listen.name for listen in config.listen} | {"local", "maildrop"}
    for one in config.classes:
        pins = (one.senders, one.listeners, one.users, one.reports)
        where = Name("class", one.name, "priority")
        for name in one.listeners:
            if name not in listeners:
                known = ", ".join(sorted(listeners))
                setting = Name("class", one.name, "listeners")
                text = f"there is no listener {shown(name)}; expected {known}"
                gathered.mistakes.add(gathered.where(setting), setting, text)
        if one.name == "default" and any(pins):
            text = "the default class takes all mail that no other does; expected no rules"
            gathered.mistakes.add(gathered.where(where), where, text)
        elif one.name != "default" and not any(pins):
            text = f"class.{one.name}: no rule, so no mail belongs to it"
            gathered.warnings.append(f"{gathered.where(where)}: {text}")


def check_groups(config: Config, gathered: Gathered) -> None:
    """Note what cannot be, and what is odd."""
    owner: dict[int, str] = {}
    listeners = {listen.name for listen in config.listen} | {"local", "maildrop"}
    for group in config.groups:

        def mistake(setting: str, text: str, instance: str = group.name) -> None:
            name = Name("group", instance, setting)
            gathered.mistakes.add(gathered.where(name), name, text)

        for queue in group.queues:
            if queue in owner:
                mistake("queues", f"queue{queue} is in group.{owner[queue]}; expected one group")
            owner[queue] = group.name
        if group.name != "default" and not group.queues:
            mistake("queues", "missing; expected the numbers of its queues, such as [3, 4]")
        is_hash = group.placement == "hash"
        needs = group.placement == "weighted" or (is_hash and group.weights)
        if needs and len(group.weights) != len(group.queues):
            text = f"{len(group.weights)} weights for {len(group.queues)} queues"
            mistake("weights", f"{text}; expected one for each, and queues beside them")
        if group.weights and not (is_hash or group.placement == "weighted"):
            mistake(
                "weights",
                f'not used by "{group.placement}"; expected placement = "weighted" or "hash"',
            )
        for name in group.listeners:
            if name not in listeners:
                known = ", ".join(sorted(listeners))
                mistake("listeners", f"there is no listener {shown(name)}; expected {known}")
        if group.sync == "none":
            setting = Name("group", group.name, "sync")
            text = "none: mail of these queues is acknowledged before it is on the disk"
            gathered.warnings.append(f"{gathered.where(setting)}: {setting}: {text}")
        pins = (group.match, group.senders, group.listeners, group.users)
        if group.name == "default" and any(pins):
            text = "the default group takes all mail that no other does; expected no rules"
            mistake("match" if group.match else "queues", text)
        elif group.name != "default" and not any(pins):
            where = gathered.where(Name("group", group.name, "queues"))
            gathered.warnings.append(
                f"{where}: group.{group.name}: no rule, so no mail comes to it"
            )
    gathered.warnings += shadowed(config.groups)
