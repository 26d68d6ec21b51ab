"""Settings of warm-up plans, and what must hold of them.

Called by: config.settings, config.build, config.checks.  Raises: Misread; mistakes are gathered.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from postroom.config.given import Gathered, Name
from postroom.config.kinds import ListOf, Misread, Mistake, Place, did_you_mean, shown
from postroom.config.measures import Integer
from postroom.config.model import Config
from postroom.config.setting import Setting, Table
from postroom.shaping.source import WarmupPolicy

_EPOCH = datetime.date(1970, 1, 1)
DAYS_MAX = 366


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the calendar, as its number from 1970-01-01 on."""

    expected: str = "a day: 2026-12-01"

    def read(self, given: object, place: Place) -> int:
        """Return the number of the day."""
        day = given
        if isinstance(given, str):
            try:
                day = datetime.date.fromisoformat(given)
            except ValueError:
                pass
        if type(day) is not datetime.date or day < _EPOCH:
            raise Misread(Mistake(f"{shown(given)} is not understood", self.expected))
        return (day - _EPOCH).days

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text.strip()

    def plain(self, value: int) -> str:
        """Return the day as it is written."""
        return (_EPOCH + datetime.timedelta(days=value)).isoformat()


WARMUP = Table(
    "warmup",
    "How many messages a day a new source may send to each provider (site), day by day. A source "
    "follows a plan that it names by `warmup`; what is more goes from the other sources.",
    WarmupPolicy,
    (
        Setting(
            "days", ListOf(Integer(1, 1_000_000_000), least=1, most=DAYS_MAX), "days",
            "Messages to each site on the first day, the second, and so on. After the last one "
            "there is no bound any more.", "[50, 100, 500, 1000, 5000, 10000]",
            default="none; it must be set",
        ),
        Setting(
            "start", Day(), "start_day",
            "The first day (UTC). Before it the source is not used.", '"2026-12-01"',
            default="none; it must be set",
        ),
    ),
    named=True,
)  # fmt: skip


def check_warmups(config: Config, gathered: Gathered) -> None:
    """Look at plans, and at the sources that follow them."""
    known = {warmup.name for warmup in config.warmups}
    used = set()
    for source in config.sources:
        if not source.warmup:
            continue
        used.add(source.warmup)
        name = Name("source", source.name, "warmup")
        if source.warmup not in known:
            hint = did_you_mean(source.warmup, known)
            text = f"there is no warm-up plan {shown(source.warmup)}; expected one of "
            text += ", ".join(sorted(known)) or "none"
            text += f"; {hint}" if hint else f"; add a table [warmup.{source.warmup}]"
            gathered.mistakes.add(gathered.where(name), name, text)
    for unused in sorted(known - used):
        name = Name("warmup", unused, "days")
        gathered.warnings.append(f"{gathered.where(name)}: {name}: no source follows this plan")
    cold = {source.name for source in config.sources if source.warmup}
    for channel in config.channels:
        if channel.sources and set(channel.sources) <= cold:
            name = Name("channel", channel.name, "sources")
            text = (
                "all of them follow warm-up plans; what these do not allow waits for the next day"
            )
            gathered.warnings.append(f"{gathered.where(name)}: {name}: {text}")
