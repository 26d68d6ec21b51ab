"""Settings of tenants, and what must hold between them and the rest.

Called by: config.settings, config.build, config.checks.  Raises: Misread.
"""

from __future__ import annotations

from postroom.channels.message_rules import message_rule
from postroom.config.given import Gathered, Name
from postroom.config.group_settings import DomainRule
from postroom.config.kinds import ListOf, Text, did_you_mean, shown
from postroom.config.measures import Bound, Integer
from postroom.config.model import Config
from postroom.config.schedules import Rated
from postroom.config.setting import Setting, Table
from postroom.groups.tenants import DEFAULT, TenantPolicy

TENANT = Table(
    "tenant",
    "One of several whose mail this server sends. The first tenant in the file of which a rule "
    "matches is taken; `tenant.default`, where it is given, takes all other mail.",
    TenantPolicy,
    (
        Setting(
            "users", ListOf(Text(255, "a user name", ".+"), most=10_000), "users",
            "Mail of these authenticated users belongs to it.", '["shop"]', default="none",
        ),
        Setting(
            "senders", ListOf(DomainRule(addresses=True), most=10_000), "senders",
            "Mail with these reverse-paths belongs to it: an address, or a rule for its domain.",
            '["shop@example.com", ".shop.example"]', default="none",
        ),
        Setting(
            "listeners", ListOf(Text(64, "the name of a listener"), most=64), "listeners",
            "Mail that came in by these listeners belongs to it; programs of this machine come "
            "by `local`.", '["submission"]', default="none",
        ),
        Setting(
            "weight", Integer(1, 100), "weight",
            "Its part of the slots of a site for which other tenants have mail as well: with 3 it "
            "sends three recipients for each one of a tenant with 1. What others do not use it "
            "has.", "3",
        ),
        Setting(
            "concurrency", Bound(0, 1_000_000), "concurrency",
            "How many simultaneous attempts, and connections, it may have in all, over all "
            "queues; 0 holds its mail.", "50",
        ),
        Setting(
            "rate", Rated(), "rate",
            "How many messages it may send in any interval of that length, over all queues and "
            "restarts.", '"10000/1h"',
        ),
    ),
    named=True,
)  # fmt: skip


def check_tenants(config: Config, gathered: Gathered) -> None:
    """Note what cannot be, and what is odd."""
    listeners = {listen.name for listen in config.listen} | {"local", "maildrop"}
    for one in config.tenants:
        rules = (one.users, one.senders, one.listeners)
        where = Name("tenant", one.name, "users")
        for name in one.listeners:
            if name not in listeners:
                setting = Name("tenant", one.name, "listeners")
                known = ", ".join(sorted(listeners))
                text = f"there is no listener {shown(name)}; expected {known}"
                gathered.mistakes.add(gathered.where(setting), setting, text)
        if one.name == DEFAULT and any(rules):
            text = "the default tenant has all mail that no other has; expected no rules"
            gathered.mistakes.add(gathered.where(where), where, text)
        elif one.name != DEFAULT and not any(rules):
            text = f"tenant.{one.name}: no rule, so no mail belongs to it"
            gathered.warnings.append(f"{gathered.where(where)}: {text}")
    _check_named(config, gathered)


def _check_named(config: Config, gathered: Gathered) -> None:
    """Rules of channels name tenants that there are."""
    known = [one.name for one in config.tenants]
    for channel in config.channels:
        for index, text in enumerate(channel.match):
            rule = message_rule(text)
            if rule is None or rule.sort != "tenant" or rule.text in known:
                continue
            name = Name("channel", channel.name, "match")
            given = gathered.settings.get(name)
            where = given.where((index,)) if given is not None else gathered.where(name)
            hint = did_you_mean(rule.text, known) or f"add [tenant.{rule.text}]"
            text = f"there is no tenant {shown(rule.text)}; {hint}"
            gathered.mistakes.add(where, name, text)
