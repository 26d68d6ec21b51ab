"""What a source says: the addresses of ours that mail goes out from, and their limits.

Values only; config makes them, queueing.departures chooses among those of a channel.
Called by: config, queueing, delivery, engine.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.core.limits import DayPlan, Limit, LimitKey, Rate


class WarmupPolicy(msgspec.Struct, frozen=True):
    """A plan to warm sources up: messages a day to each site, from a UTC day on."""

    name: str
    days: tuple[int, ...]
    start_day: int

    @property
    def plan(self) -> DayPlan:
        """The plan as a limit."""
        return DayPlan(self.days, self.start_day)


class SourcePolicy(msgspec.Struct, frozen=True):
    """One source. Two addresses of a family are used in turn.

    `helo` is the name said in EHLO from it, "" that of the server. `weight` is its share among
    the sources of a channel. Limits hold over all queues and channels; `connect_rate` is of new
    connections. `block_pause_s` is for how long it is paused towards a site that says that it
    blocks it, 0 never. `plan` is what the plan `warmup` says. `origin` is "file:line", for
    explanations.
    """

    name: str
    address: tuple[str, ...]
    helo: str = ""
    weight: int = 1
    concurrency: int | None = None
    rate: Rate | None = None
    connect_rate: Rate | None = None
    block_pause_s: float = 3600.0
    warmup: str = ""
    plan: DayPlan | None = None
    origin: str = ""

    @property
    def key(self) -> LimitKey:
        """What its limit is of."""
        return LimitKey("source", self.name)

    @property
    def limit(self) -> Limit:
        """What all mail from it is under."""
        return Limit(self.concurrency, self.rate)

    @property
    def connect_key(self) -> LimitKey:
        """What its limit of new connections is of."""
        return LimitKey("connect-source", self.name)

    @property
    def connect_limit(self) -> Limit:
        """How often a connection from it may be opened."""
        return Limit(None, self.connect_rate)

    def warmup_key(self, site: str) -> LimitKey:
        """Return what its plan for one site is of."""
        return LimitKey("warmup", self.name, site)

    @property
    def warmup_limit(self) -> Limit:
        """How many messages a day it may send to each site."""
        return Limit(None, None, self.plan)

    def addresses_for(self, host: str) -> tuple[str, ...]:
        """Return the addresses of the family of a host's address."""
        is_ipv6 = ":" in host
        return tuple(one for one in self.address if (":" in one) == is_ipv6)

    @property
    def families(self) -> str:
        """Say which addresses it has."""
        kinds = ("IPv6" if ":" in one else "IPv4" for one in self.address)
        return " and ".join(dict.fromkeys(kinds))
