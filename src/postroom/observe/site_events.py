"""Events about where mail goes: sites, hosts, channels, and delivery as a whole.

A part of the closed list of observe.events.
Called by: engine, supervisor.  Raises: nothing.
"""

from __future__ import annotations

from postroom.observe.event import Event


class SiteSuspended(Event, frozen=True, tag="site-suspended"):
    """No host of a site could be used; one is tried at `until`, and later until one works."""

    channel: str
    site: str
    reply: str
    until: float


class SiteResumed(Event, frozen=True, tag="site-resumed"):
    """A site that was suspended works again."""

    channel: str
    site: str


class SiteWindowChanged(Event, frozen=True, tag="site-window"):
    """A site takes `slots` connections at once, as it has said; it was `before`, or none known.

    Told when that is fewer, when it is more by a quarter than was told, and when nothing is known
    of the site any more (`is_over`): then all that is configured is used again.
    """

    channel: str
    site: str
    slots: int
    before: int = 0
    is_over: bool = False


class HostDown(Event, frozen=True, tag="host-down"):
    """A host cannot be used: all queues pass it over until a probe finds that it works."""

    host: str
    error: str


class HostUp(Event, frozen=True, tag="host-up"):
    """A host that was down works again, or was not tried for so long that it may work."""

    host: str


class ChannelSet(Event, frozen=True, tag="channel-set"):
    """An operator set something of a channel, in force over restarts until it is set back.

    `setting` is suspended, concurrency or per_site.concurrency; a `value` of default is what the
    configuration says.
    """

    channel: str
    setting: str
    value: str


class DeliverySuspended(Event, frozen=True, tag="delivery-suspended"):
    """An operator suspended delivery: mail is accepted and kept, nothing is attempted."""


class DeliveryResumed(Event, frozen=True, tag="delivery-resumed"):
    """Delivery goes on."""


class RatesNotKept(Event, frozen=True, tag="rates-not-kept"):
    """How far rates are used up cannot be kept, or read: a restart may begin them anew."""

    reason: str


SITE_EVENTS: tuple[type[Event], ...] = (
    SiteSuspended, SiteResumed, SiteWindowChanged, HostDown, HostUp, ChannelSet,
    DeliverySuspended, DeliveryResumed, RatesNotKept,
)  # fmt: skip
