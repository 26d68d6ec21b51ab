"""Files of reply rules: the one that is shipped, and one of the operator's own.

Own rules go first. One of the same name as a shipped rule takes its place, or with `off = true`
takes it away. A provider that the own file describes anew is as it says there.

Guarantees: rules are whole and usable, or ConfigurationError tells all that is wrong, one line
for each mistake: "FILE:LINE: rule NAME: what; expected".
Called by: config.loader, cli.reply_test.  Raises: ConfigurationError.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from postroom.config.files import read_text
from postroom.config.given import Mistakes
from postroom.config.kinds import did_you_mean, shown
from postroom.config.positions import locate
from postroom.config.replies import RepliesPolicy
from postroom.core.errors import ConfigurationError
from postroom.core.expressions import Expression
from postroom.core.units import parse_duration
from postroom.shaping.replies import STAGES, Action, ReplyRule

SHIPPED = Path(__file__).with_name("replies.toml")
RULES_MAX = 1000
"""Every reply that no rule of its host is for costs a look at each of them."""
NAMES_MAX = 200
HELD_MIN_S, HELD_MAX_S = 1.0, 7 * 86400.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_HOST = re.compile(r"\.?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\Z")
_ACTIONS = {
    "suspend": Action.SUSPEND,
    "slow": Action.SLOW,
    "back_off": Action.BACK_OFF,
    "switch_source": Action.SWITCH_SOURCE,
}
_OUTCOMES = ("deferred", "failed")
_RULE_KEYS = ("name", "provider", "stage", "match", *_ACTIONS, "outcome", "off")
_PROVIDER_KEYS = ("hosts", "domains")
_LOCATED = re.compile(r"\(at line (\d+)")


class _Provider(NamedTuple):
    hosts: tuple[str, ...]
    domains: tuple[str, ...]


class _File:
    """One file, half read: what is wrong with it is in `mistakes`."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        try:
            document = tomllib.loads(text)
            self._lines = locate(text)
        except tomllib.TOMLDecodeError as error:
            found = _LOCATED.search(str(error))
            line = f":{found[1]}" if found else ""
            raise ConfigurationError(f"{path}{line}: not TOML: {error}") from None
        except RecursionError:
            raise ConfigurationError(f"{path}: values are nested too deeply") from None
        self.mistakes = Mistakes()
        for key in document.keys() - {"rule", "provider"}:
            text = f"{shown(key)} is not known; expected [[rule]] and [provider.NAME]"
            self.mistakes.add(self.where(key), "", text)
        self._rules = document.get("rule", [])
        self._providers = document.get("provider", {})
        if not isinstance(self._rules, list) or len(self._rules) > RULES_MAX:
            text = f"expected tables [[rule]], at most {RULES_MAX}"
            self.mistakes.add(self.where("rule"), "", text)
            self._rules = []
        if not isinstance(self._providers, dict):
            self.mistakes.add(self.where("provider"), "", "expected tables [provider.NAME]")
            self._providers = {}

    def where(self, *path: str | int) -> str:
        """Return "FILE:LINE" of a key, or of what holds it."""
        for length in range(len(path), 0, -1):
            line = self._lines.get(path[:length])
            if line is not None:
                return f"{self._path}:{line}"
        return str(self._path)

    def providers(self) -> dict[str, _Provider]:
        """Return the providers of this file."""
        found = {}
        for name, table in self._providers.items():
            about = f"provider {name}"
            if not isinstance(table, dict):
                self.mistakes.add(self.where("provider", name), about, "expected a table")
                continue
            self._check_keys(table, _PROVIDER_KEYS, about, "provider", name)
            names = [
                self._names(table.get(key, []), about, "provider", name, key)
                for key in _PROVIDER_KEYS
            ]
            if not any(names):
                text = "expected hosts, domains or both"
                self.mistakes.add(self.where("provider", name), about, text)
            found[name] = _Provider(*names)
        return found

    def rules(self, providers: Mapping[str, _Provider]) -> dict[str, ReplyRule | None]:
        """Return the rules by name, in order; None for one that is off."""
        found: dict[str, ReplyRule | None] = {}
        for number, table in enumerate(self._rules):
            name = table.get("name") if isinstance(table, dict) else None
            if not isinstance(name, str) or not _NAME.match(name):
                text = "expected name = a word of letters, digits, - . and _"
                self.mistakes.add(self.where("rule", number), f"rule {number + 1}", text)
                continue
            about = f"rule {name}"
            if name in found:
                text = "this name is taken by a rule above; expected another"
                self.mistakes.add(self.where("rule", number, "name"), about, text)
            self._check_keys(table, _RULE_KEYS, about, "rule", number)
            found[name] = self._rule(name, table, number, providers)
        return found

    def _rule(
        self, name: str, table: Mapping[str, Any], number: int, providers: Mapping[str, _Provider]
    ) -> ReplyRule | None:
        def mistake(key: str, text: str) -> None:
            self.mistakes.add(self.where("rule", number, key), f"rule {name}", f"{key}: {text}")

        if table.get("off") is True:
            return None
        if "off" in table:
            mistake("off", "expected true, or no such line")
        provider = table.get("provider", "")
        if provider and (not isinstance(provider, str) or provider not in providers):
            hint = did_you_mean(str(provider), providers)
            known = ", ".join(providers) or "none"
            mistake("provider", f"{shown(provider)} is not described; there are {known}; {hint}")
            provider = ""
        given = table.get("stage", [])
        stages = tuple(given) if isinstance(given, list) else (given,)
        for stage in stages:
            if not isinstance(stage, str) or stage not in STAGES:
                mistake("stage", f"{shown(stage)} is none; expected {', '.join(STAGES)}")
        self._check_match(table.get("match"), mistake)
        actions = [key for key in _ACTIONS if key in table]
        outcome = table.get("outcome", "")
        if "outcome" in table and outcome not in _OUTCOMES:
            mistake("outcome", f"{shown(outcome)}; expected {' or '.join(_OUTCOMES)}")
        if len(actions) > 1:
            mistake(actions[1], f"given beside {actions[0]}; expected one of the two")
        if not actions and "outcome" not in table:
            mistake("match", f"nothing is done; expected {', '.join(_ACTIONS)} or outcome")
        action = actions[0] if actions else ""
        seconds = self._seconds(table[action], lambda text: mistake(action, text)) if action else 0
        sure = providers.get(provider, _Provider((), ()))
        return ReplyRule(
            name, str(table.get("match", "")), provider, sure.hosts, sure.domains,
            tuple(map(str, stages)), _ACTIONS.get(action, Action.NONE), seconds, str(outcome),
            self.where("rule", number, "name"),
        )  # fmt: skip

    def _check_match(self, match: object, mistake: Any) -> None:
        if not isinstance(match, str):
            mistake("match", "expected an expression in single quotes: '^421 4\\.7\\.28 '")
            return
        try:
            Expression(match)
        except ValueError as error:
            mistake("match", f"{shown(match)}: {error}")

    def _seconds(self, given: object, mistake: Any) -> float:
        try:
            if isinstance(given, str) and HELD_MIN_S <= parse_duration(given) <= HELD_MAX_S:
                return parse_duration(given)
        except ValueError:
            pass
        mistake(f'{shown(given)}; expected a duration from "1s" to "7d"')
        return 0.0

    def _names(self, given: object, about: str, *path: str) -> tuple[str, ...]:
        names = given if isinstance(given, list) else [given]
        if len(names) > NAMES_MAX:
            self.mistakes.add(self.where(*path), about, f"expected at most {NAMES_MAX} names")
        for number, name in enumerate(names):
            if not isinstance(name, str) or not _HOST.match(name):
                text = f'{path[-1]}: {shown(name)}; expected "mx.example.org" or ".example.org"'
                self.mistakes.add(self.where(*path, number), about, text)
        return tuple(str(name).lower() for name in names[:NAMES_MAX])

    def _check_keys(
        self, table: Mapping[str, Any], known: tuple[str, ...], about: str, *path: str | int
    ) -> None:
        for key in table.keys() - set(known):
            text = f"{shown(key)} is not known; expected {', '.join(known)}"
            hint = did_you_mean(key, known)
            self.mistakes.add(self.where(*path, key), about, text + (f"; {hint}" if hint else ""))


def load_rules(policy: RepliesPolicy) -> tuple[ReplyRule, ...]:
    """Return the rules that are in force by a policy, in order; raises ConfigurationError."""
    if policy.file:
        path = Path(policy.file)
        return rules_of(path, read_text(path), shipped=policy.shipped)
    return tuple(_shipped()[1].values()) if policy.shipped else ()


def rules_of(path: Path, text: str, *, shipped: bool) -> tuple[ReplyRule, ...]:
    """Return the rules of an operator's file, and with `shipped` those behind them."""
    providers, known = _shipped()
    own = _File(path, text)
    described = own.providers()
    rules = own.rules({**providers, **described})
    if own.mistakes:
        raise ConfigurationError(str(own.mistakes))
    _check_off(rules, known, str(path))
    known = {name: _described(rule, described) for name, rule in known.items()}
    if shipped:
        rules |= {name: rule for name, rule in known.items() if name not in rules}
    return tuple(rule for rule in rules.values() if rule is not None)


@functools.cache
def _shipped() -> tuple[Mapping[str, _Provider], Mapping[str, ReplyRule]]:
    """Return what is shipped; read once, for every load of a configuration asks for it."""
    file = _File(SHIPPED, SHIPPED.read_text("utf-8"))
    providers = file.providers()
    rules = {name: rule for name, rule in file.rules(providers).items() if rule is not None}
    assert not file.mistakes, str(file.mistakes)
    return providers, rules


def _described(rule: ReplyRule, providers: Mapping[str, _Provider]) -> ReplyRule:
    provider = providers.get(rule.provider)
    if provider is None:
        return rule
    return msgspec.structs.replace(rule, hosts=provider.hosts, domains=provider.domains)


def _check_off(
    own: Mapping[str, ReplyRule | None], shipped: Mapping[str, ReplyRule], file: str
) -> None:
    for name, rule in own.items():
        if rule is None and name not in shipped:
            hint = did_you_mean(name, shipped)
            text = "off, but no rule that is shipped has this name"
            raise ConfigurationError(f"{file}: rule {name}: {text}" + (f"; {hint}" if hint else ""))
