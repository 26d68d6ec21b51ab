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
        self._labels: dict[str, Tally] = {}
        """Of hosts, by how events name them."""
        self._domains: dict[str, Tally] = {}
        """Of channels, by domains whose route is known."""
        self._generation = -1

    def note(self, event: Event) -> None:
        """Count what an event tells, if it is about an attempt."""
        # Once for each recipient: what is counted often is found by one look each.
        if type(event) is RecipientDelivered:
            name, site = event.channel, event.site
            (self.channels.get(name) or self._channel(name)).delivered += 1
            (self.sites.get((name, site)) or self._site(name, site)).delivered += 1
            if site.startswith(RELAY):
                (self._labels.get(event.host) or self._host(event.host)).delivered += 1
        elif isinstance(event, RecipientDeferred | RecipientFailed):
            error = (self._clock.now(), event.reply[:REPLY_MAX], event.host)
            tallies = [self._channel(event.channel), self._site(event.channel, event.site)]
            if event.host and event.site.startswith(RELAY):
                tallies.append(self._labels.get(event.host) or self._host(event.host))
            for tally in tallies:
                tally.error = error
                if isinstance(event, RecipientDeferred):
                    tally.deferred += 1
                else:
                    tally.failed += 1

    def accepted(self, message: NewMessage, router: Routes, kinds: Kinds) -> None:
        """Count the recipients of a new message, each at the channel that it is for now."""
        if router.generation != self._generation or len(self._domains) > SITES_MAX:
            self._domains.clear()
            self._generation = router.generation
        kind = kinds.of(message.envelope, message.provenance)
        for recipient in message.envelope.recipients:
            domain = recipient.domain.lower()
            tally = self._domains.get(domain) if not kind else None
            if tally is None:
                tally = self._tally_of(domain, kind, router, kinds)
            if tally is not None:
                tally.accepted += 1

    def _tally_of(self, domain: str, kind: int, router: Routes, kinds: Kinds) -> Tally | None:
        try:
            found = router.lookup(domain, kind)
            channel = found.channel if found is not None else router.channel_of(domain, kind)
        except Exception:  # a defect that admission meets as well, and tells of
            return None
        tally = self._channel(channel.name)
        # By its name alone a domain may be of another channel than by its MX hosts.
        if found is not None and not kinds.depends(domain):
            self._domains[domain] = tally
        return tally

    def _channel(self, name: str) -> Tally:
        return _get(self.channels, name, CHANNELS_MAX)

    def _site(self, channel: str, site: str) -> Tally:
        return _get(self.sites, (channel, site), SITES_MAX)

    def _host(self, label: str) -> Tally:
        tally = _get(self.hosts, host_of(label), HOSTS_MAX)
        if len(self._labels) >= 2 * HOSTS_MAX:
            self._labels.clear()
        self._labels[label] = tally
        return tally


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
