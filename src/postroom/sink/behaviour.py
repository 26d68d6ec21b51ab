"""Decides what a site does at a command.

Owns what must be remembered between sessions of one site: how often a rule has acted, what
was greylisted and since when, and the dice. Decides at once and touches no connection.

Called by: sink.session.  Raises: nothing.
"""

from __future__ import annotations

import random

import msgspec

from postroom.sink.profile import Rule, Site

GREYLIST_MAX = 1_000_000
"""Entries remembered; beyond it the memory starts anew, and some wait once more."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What happens: wait `delay_s`, then drop the connection or answer `reply`.

    `reply` None means: answer as if there were no rule.
    """

    delay_s: float = 0.0
    drop: bool = False
    reply: str | None = None


class Behaviour:
    """What one site plays."""

    __slots__ = ("_acted", "_dice", "_greylisted", "_plain", "_rules", "site")

    def __init__(self, site: Site, dice: random.Random) -> None:
        self.site = site
        self._dice = dice
        self._rules: dict[str, list[Rule]] = {}
        for rule in site.rules:
            self._rules.setdefault(rule.command, []).append(rule)
        self._acted: dict[int, int] = {}
        self._greylisted: dict[tuple[str, ...], float] = {}
        self._plain = Verdict(delay_s=site.tarpit_s) if site.tarpit_s else None

    @property
    def acts_at(self) -> frozenset[str]:
        """The commands for which `decide` may say anything but None."""
        if self._plain is not None:
            return frozenset(("connect", "ehlo", "mail", "rcpt", "data", "content", "quit"))
        return frozenset(self._rules)

    def decide(
        self, command: str, subject: str, triple: tuple[str, ...], now: float
    ) -> Verdict | None:
        """Return what happens at `command` about `subject`, None for nothing unusual.

        `triple` (client, reverse-path, recipient) is what greylisting remembers, `now` any
        clock that rises, in seconds.
        """
        for rule in self._rules.get(command, ()):
            if rule.matches(subject) and self._acts(rule, triple, now):
                return Verdict(self.site.tarpit_s + rule.delay_s, rule.drop, rule.reply)
        return self._plain

    def _acts(self, rule: Rule, triple: tuple[str, ...], now: float) -> bool:
        if rule.greylist_s:
            if len(self._greylisted) >= GREYLIST_MAX:
                self._greylisted.clear()
            if now - self._greylisted.setdefault(triple, now) >= rule.greylist_s:
                return False
        if rule.percent < 100.0 and self._dice.uniform(0.0, 100.0) >= rule.percent:
            return False
        if rule.first:
            count = self._acted.get(id(rule), 0)
            if count >= rule.first:
                return False
            self._acted[id(rule)] = count + 1
        return True
