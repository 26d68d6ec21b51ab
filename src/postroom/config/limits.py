"""The limits of a configuration, by what they are of.

Called by: supervisor.  Raises: nothing.
"""

from __future__ import annotations

from postroom.config.model import Config
from postroom.core.limits import PROBE, SERVER, UNLIMITED, Limit, LimitKey, Rate
from postroom.groups.policy import group_of
from postroom.routing.policy import PROBE_S, MxRoute, RelayRoute


class LimitTable:
    """All limits of one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._channels = {one.name: one for one in config.channels}
        self._sources = {one.name: one for one in config.sources}
        self._tenants = {one.name: one.limit for one in config.tenants}
        self._groups = {one.name: Limit(one.concurrency, one.rate) for one in config.groups}

    def of(self, key: LimitKey) -> Limit:
        """Return the limit of anything; what the configuration does not know has none."""
        if key.kind == "server":
            return Limit(self._config.limits.concurrency, self._config.limits.rate)
        if key.kind == "group":
            return self._groups.get(key.name, UNLIMITED)
        if key.kind == "tenant":
            return self._tenants.get(key.name, UNLIMITED)
        if key.kind == PROBE:
            route = self._config.routes.get(key.name)
            probe_s = route.probe_s if isinstance(route, MxRoute | RelayRoute) else PROBE_S
            return Limit(None, Rate(1, probe_s))
        if key.kind in ("source", "connect-source", "warmup"):
            source = self._sources.get(key.name)
            if source is None:
                return UNLIMITED
            if key.kind == "warmup":
                return source.warmup_limit
            return source.limit if key.kind == "source" else source.connect_limit
        channel = self._channels.get(key.name)
        if channel is None:
            return UNLIMITED
        match key.kind:
            case "channel":
                return channel.limit
            case "connect-channel":
                return channel.connect_limit
            case "connect-site":
                return channel.site_connect_limit
        return channel.site_limit

    def outer(self, queue: int) -> tuple[tuple[LimitKey, Limit], ...]:
        """Return what all attempts of a queue are under: limits of the server, of its group."""
        group = group_of(self._config.groups, queue)
        keys = (SERVER, LimitKey("group", group.name))
        return tuple((key, self.of(key)) for key in keys if self.of(key) != UNLIMITED)

    @property
    def has_rates(self) -> bool:
        """True where anything has a rate."""
        limits = [self.of(SERVER), *self._groups.values(), *self._tenants.values()]
        return (
            any(one.rate for one in limits)
            or any(
                one.rate or one.site_rate or one.connect_rate or one.site_connect_rate
                for one in self._channels.values()
            )
            or any(one.rate or one.connect_rate or one.plan for one in self._sources.values())
        )
