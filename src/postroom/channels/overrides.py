"""What an operator set of a channel at run time: it wins over the file until it is set back.

Pure.  Guarantees: 1. the configuration that was read is never changed; what is in force is made
from it anew. 2. an override outlives its channel: one that comes back is as it was set.
Called by: supervisor, cli.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from postroom.channels.policy import ChannelPolicy

CONCURRENCY_MAX = 100_000
SETTINGS = {"concurrency": "concurrency", "per_site.concurrency": "site_concurrency"}
"""The settings that can be set at run time, with their fields."""


class Override(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was set of one channel; None is what the file says.

    While it `is_suspended` no new attempt of the channel is made, whatever the limits are.
    """

    concurrency: int | None = None
    site_concurrency: int | None = None
    is_suspended: bool = False

    @property
    def is_empty(self) -> bool:
        """True where the file alone decides."""
        return self == _NOTHING


_NOTHING = Override()


def overridden(
    channels: Sequence[ChannelPolicy], overrides: Mapping[str, Override]
) -> tuple[ChannelPolicy, ...]:
    """Return the channels as they are in force; a suspended one may make no attempt at once."""
    return tuple(
        _changed(channel, overrides[channel.name]) if channel.name in overrides else channel
        for channel in channels
    )


def orphaned(
    channels: Sequence[ChannelPolicy], overrides: Mapping[str, Override]
) -> tuple[str, ...]:
    """Return the names of channels that something is set of and that are not there."""
    there = {channel.name for channel in channels}
    return tuple(sorted(overrides.keys() - there))


def _changed(channel: ChannelPolicy, override: Override) -> ChannelPolicy:
    concurrency, site = override.concurrency, override.site_concurrency
    concurrency = channel.concurrency if concurrency is None else concurrency
    return msgspec.structs.replace(
        channel,
        concurrency=0 if override.is_suspended else concurrency,
        site_concurrency=channel.site_concurrency if site is None else site,
        is_suspended=override.is_suspended,
    )
