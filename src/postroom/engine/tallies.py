"""Tallies: what became of attempts, by channel, site and relay, counted from the events.

Owns counters that only grow, from the start of the worker on, and what each site said last that
was no success. The sums over all channels are those of the queue.

Pure.  Guarantees: memory is bounded: of too many sites or relays those that were new first are
forgotten; channels are as many as the configuration has.
Called by: engine.settle, engine.engine, engine.survey.  Raises: nothing.
"""

from __future__ import annotations

from typing import TypeVar

from postroom.core.clock import Clock
from postroom.core.message import NewMessage
from postroom.engine.kinds import Kinds
from postroom.engine.parts import Routes
from postroom.engine.views import Done, LastError
from postroom.observe.events import Event, RecipientDeferred, RecipientDelivered, RecipientFailed

SITES_MAX = 10_000
HOSTS_MAX = 1_000
CHANNELS_MAX = 10_000
"""Names of channels that were in the file at any time since the start."""
RELAY = "relay:"
"""How the sites begin that are pools of relays: of their hosts there are few."""
REPLY_MAX = 300

_Key = TypeVar("_Key")


class Tally:
    """The counters of one thing."""

    __slots__ = ("accepted", "deferred", "delivered", "error", "failed")

    def __init__(self) -> None:
        self.accepted = 0
        self.delivered = 0
        self.deferred = 0
        self.failed = 0
        self.error: tuple[float, str, str] | None = None
        """When, what and which host said last that was no success."""

    @property
    def done(self) -> Done:
        """The counters as a value."""
        return Done(self.accepted, self.delivered, self.deferred, self.failed)

    @property
    def last_error(self) -> LastError | None:
        """What was said last that was no success."""
        return None if self.error is None else LastError(*self.error)


class Tallies:
    """The counters of one queue."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.channels: dict[str, Tally] = {}
        self.sites: dict[tuple[str, str], Tally] = {}
        self.hosts: dict[str, Tally] = {}

    def note(self, event: Event) -> None:
        """Count what an event tells, if it is about an attempt."""
        if isinstance(event, RecipientDelivered):
            for tally in self._of(event):
                tally.delivered += 1
        elif isinstance(event, RecipientDeferred | RecipientFailed):
            error = (self._clock.now(), event.reply[:REPLY_MAX], event.host)
            for tally in self._of(event):
                tally.error = error
                if isinstance(event, RecipientDeferred):
                    tally.deferred += 1
                else:
                    tally.failed += 1

    def accepted(self, message: NewMessage, router: Routes, kinds: Kinds) -> None:
        """Count the recipients of a new message, each at the channel that it is for now."""
        kind = kinds.of(message.envelope, message.provenance)
        for recipient in message.envelope.recipients:
            domain = recipient.domain.lower()
            try:
                found = router.lookup(domain, kind)
                channel = found.channel if found is not None else router.channel_of(domain, kind)
            except Exception:  # a defect that admission meets as well, and tells of
                continue
            _get(self.channels, channel.name, CHANNELS_MAX).accepted += 1

    def _of(
        self, event: RecipientDelivered | RecipientDeferred | RecipientFailed
    ) -> tuple[Tally, ...]:
        channel = _get(self.channels, event.channel, CHANNELS_MAX)
        site = _get(self.sites, (event.channel, event.site), SITES_MAX)
        if not event.host or not event.site.startswith(RELAY):
            return channel, site
        return channel, site, _get(self.hosts, host_of(event.host), HOSTS_MAX)


def host_of(label: str) -> str:
    """Return a host as listings name it, "name:port", from "name[address]:port"."""
    name, bracket, rest = label.partition("[")
    if not bracket:
        return label
    address, _, after = rest.partition("]")
    return (name or address) + after


def _get(tallies: dict[_Key, Tally], key: _Key, most: int) -> Tally:
    tally = tallies.get(key)
    if tally is None:
        if len(tallies) >= most:
            del tallies[next(iter(tallies))]
        tally = tallies[key] = Tally()
    return tally
