"""What a channel says: which destinations it is for, its limits and its retries.

Values only; config makes them, `channels.match` chooses among them.
Called by: config, routing, queueing, engine.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.channels.window import Span
from postroom.core.limits import Limit, LimitKey, Rate


class RetrySchedule(msgspec.Struct, frozen=True):
    """When a deferred recipient is tried again; see `channels.retry`.

    `kind` is "exponential" (first, first*factor, ... up to max), "quadratic" (the n-th
    attempt comes n²*first after arrival, the gap capped at max) or "list" (`delays_s`, its
    last repeated). Delays are in seconds; each is multiplied by a random number between
    1-jitter and 1+jitter. `lifetime_s` after arrival a recipient expires, after one last
    try.
    """

    kind: str = "exponential"
    first_s: float = 300.0
    factor: float = 2.0
    max_s: float = 14400.0
    delays_s: tuple[float, ...] = ()
    jitter: float = 0.1
    lifetime_s: float = 432000.0


class ChannelPolicy(msgspec.Struct, frozen=True):
    """One channel.

    `match` holds rules as written: "gmail.com", ".example.org" (the domain and all below
    it), "*.mail.*" (a pattern), "mx:*.google.com" (by MX host). Limits count simultaneous
    attempts; 0 holds all mail of the channel; rates count transactions, `connect_rate` new
    connections. They hold over all queues. `sources` names the addresses of ours that its mail
    goes out from; () leaves it to the operating system. `recipients_max` is per transaction,
    `transactions_max` per connection. `delay_warning_s` of 0 sends no delay warning. `window`
    holds the hours in which mail is tried, () for always.
    `origin` is "file:line" of the rule, for explanations; so is `is_suspended`, by an operator:
    its concurrency is 0 meanwhile.
    """

    name: str
    match: tuple[str, ...] = ()
    route: str = "default"
    concurrency: int = 100
    site_concurrency: int = 20
    rate: Rate | None = None
    site_rate: Rate | None = None
    connect_rate: Rate | None = None
    site_connect_rate: Rate | None = None
    sources: tuple[str, ...] = ()
    retry: RetrySchedule = RetrySchedule()
    recipients_max: int = 100
    transactions_max: int = 100
    delay_warning_s: float = 14400.0
    window: tuple[Span, ...] = ()
    time_zone: str = "UTC"
    origin: str = ""
    is_suspended: bool = False

    @property
    def key(self) -> LimitKey:
        """What the limits of the channel as a whole are of."""
        return LimitKey("channel", self.name)

    @property
    def limit(self) -> Limit:
        """The limit of the channel as a whole."""
        return Limit(self.concurrency, self.rate)

    @property
    def site_limit(self) -> Limit:
        """The limit of each of its sites."""
        return Limit(self.site_concurrency, self.site_rate)

    def site_key(self, site: str) -> LimitKey:
        """Return what the limit of a site is of."""
        return LimitKey("site", self.name, site)

    @property
    def connect_key(self) -> LimitKey:
        """What the limit of new connections of the channel is of."""
        return LimitKey("connect-channel", self.name)

    @property
    def connect_limit(self) -> Limit:
        """How often a connection of the channel may be opened."""
        return Limit(None, self.connect_rate)

    @property
    def site_connect_limit(self) -> Limit:
        """The same for each of its sites."""
        return Limit(None, self.site_connect_rate)

    def site_connect_key(self, site: str) -> LimitKey:
        """Return what the limit of new connections to a site is of."""
        return LimitKey("connect-site", self.name, site)
