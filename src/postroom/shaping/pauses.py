"""Pauses of sources: of one as a whole, or only towards one site.

Owns what one worker knows of pauses: those of the server, which come from the master as a whole
whenever they change, and its own, for what it found out by itself (an address that cannot be
used), which end soon.

Pure.  Guarantees: memory is bounded: of its own pauses the oldest go first.
Called by: queueing.departures, engine.source_troubles, supervisor.source_pauses.
Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

OWN_MAX = 10_000
FOREVER = float("inf")


class Pause(msgspec.Struct, frozen=True):
    """One pause: `site` "" is every site, `until` 0.0 is until it is resumed."""

    source: str
    site: str = ""
    until: float = 0.0
    reason: str = ""
    since: float = 0.0
    is_automatic: bool = False

    @property
    def ends_at(self) -> float:
        """When it ends by itself."""
        return self.until or FOREVER

    def __str__(self) -> str:
        where = f" towards {self.site}" if self.site else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"source {self.source} is paused{where}{reason}"


class Pauses:
    """All pauses that one worker goes by."""

    def __init__(self) -> None:
        self._shared: dict[tuple[str, str], Pause] = {}
        self._own: dict[tuple[str, str], Pause] = {}

    def replace(self, pauses: Iterable[Pause], resumed: str = "") -> None:
        """Take the pauses of the server as they are now; our own of a `resumed` source end, too."""
        for key in [key for key in self._own if key[0] == resumed]:
            del self._own[key]
        self._shared = {(one.source, one.site): one for one in pauses}

    def add(self, pause: Pause, now: float) -> bool:
        """Take a pause of our own; False where there is one already."""
        known = self.of(pause.source, pause.site, now)
        self._own.pop((pause.source, pause.site), None)
        self._own[pause.source, pause.site] = pause
        if len(self._own) > OWN_MAX:
            del self._own[next(iter(self._own))]
        return known is None

    def of(self, source: str, site: str, now: float) -> Pause | None:
        """Return what keeps a source from being used towards a site now."""
        for table in (self._shared, self._own):
            if not table:
                continue
            for key in ((source, ""), (source, site)):
                pause = table.get(key)
                if pause is None:
                    continue
                if now < pause.ends_at:
                    return pause
                del table[key]
        return None
