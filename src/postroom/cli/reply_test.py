"""`postroom reply-test`: which reply rule takes a reply, where it stands, what it would do.

Needs no server: it reads the rules as a start or reload would.
Called by: cli.main.  Raises: CommandFailed, ConfigurationError.
"""

from __future__ import annotations

import argparse
import re

from postroom.cli.output import FINDING, OK, USAGE, fail, print_json
from postroom.cli.reach import configuration
from postroom.config.rule_files import load_rules
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.core.units import format_duration
from postroom.shaping.replies import STAGES, Action, ReplyRule, ReplyRules
from postroom.smtp.client_states import Stage

EXAMPLE = 'postroom reply-test --site gmail-smtp-in.l.google.com "421 4.7.28 unusual rate"'
_REPLY = re.compile(r"([245]\d\d)[ -](?:([245]\.\d{1,3}\.\d{1,3})(?: |\Z))?(.*)\Z", re.DOTALL)
_DOES = {
    Action.SUSPEND: "nothing is tried at the site for {}",
    Action.SLOW: "the site gets half of its connections and rate for {}; told again, half of that",
    Action.BACK_OFF: "deferred mail of the site waits {} at least",
    Action.SWITCH_SOURCE: "another source address for {}; with one source only, deferred mail "
    "of the site waits that long",
}
_OUTCOMES = {
    "": "as the reply says",
    "deferred": "deferred, whatever the reply says",
    "failed": "failed, whatever the reply says",
}


def reply_test(options: argparse.Namespace) -> int:
    """Show the rule for a reply; exit 1 where none is for it."""
    reply = _parsed(" ".join(options.reply))
    rules = ReplyRules(load_rules(configuration(options).replies))
    rule = _find(rules, reply, options.stage, options.site, options.domain)
    if options.json:
        print_json(_in_json(rule))
    elif rule is None:
        where = f" from {options.site}" if options.site else ""
        print(f"no rule: {reply}{where} concerns only the mail it is about")
        if not options.site:
            print(f"rules of providers go by the host that spoke: {EXAMPLE}")
    else:
        _print(rule)
    return OK if rule is not None else FINDING


def _parsed(text: str) -> Reply:
    lines = text.replace("\\n", "\n").splitlines() or [""]
    found = _REPLY.match("\n".join(lines))
    if found is None:
        fail(f"{text!r} is no reply: expected a code and a text", EXAMPLE, USAGE)
    code, enhanced, words = found.groups()
    # As a client joins the lines of a reply: without code and status before each.
    again = re.compile(rf"^{code}[ -](?:{re.escape(enhanced)} )?" if enhanced else rf"^{code}[ -]")
    told = "\n".join(again.sub("", line) for line in words.split("\n"))
    return Reply(int(code), EnhancedStatusCode(enhanced or ""), told)


def _find(rules: ReplyRules, reply: Reply, stage: str, site: str, domain: str) -> ReplyRule | None:
    """Return the rule; without a stage the first that fits in any of them."""
    words = (stage,) if stage else tuple(STAGES)
    stages: list[Stage] = [STAGES[word][-1 if word == "data" else 0] for word in words]
    found = [rules.find(one, reply, site, domain) for one in stages]
    fitting = [rule for rule in found if rule is not None]
    return min(fitting, key=rules.rules.index, default=None)


def _print(rule: ReplyRule) -> None:
    lines = [
        ("rule", rule.name),
        ("stands", rule.origin),
        ("provider", f"{rule.provider} ({', '.join(rule.hosts + rule.domains)})"
         if rule.provider else "any"),
        ("stage", ", ".join(rule.stages) or "any"),
        ("match", rule.match),
        ("does", _does(rule)),
        ("mail", _OUTCOMES[rule.outcome]),
    ]  # fmt: skip
    for name, value in lines:
        print(f"{name + ':':<10}{value}")


def _does(rule: ReplyRule) -> str:
    return _DOES.get(rule.action, "nothing with the site").format(format_duration(rule.for_s))


def _in_json(rule: ReplyRule | None) -> dict[str, object]:
    if rule is None:
        return {"rule": None}
    return {
        "rule": rule.name,
        "origin": rule.origin,
        "provider": rule.provider or None,
        "stages": rule.stages,
        "match": rule.match,
        "action": rule.action.value,
        "for_s": rule.for_s,
        "outcome": rule.outcome or None,
    }
