"""Lending: the governor of the server, between the workers that hold slots and tokens.

Owns the governor, who its holders are, and BASE/rates: how far rates are used up, so that what
was sent counts after a restart. BASE/run/lending is locked through a descriptor that every
worker inherits: while a worker of an earlier master lives, the lock is held, and nothing is
granted, for that worker may still use what was lent to it. After a crash GRACE_S pass as well.

Guarantees: 1. a holder's slots are free only once its process has ended, GRACE_S later where it
did not end in good order.  2. rates are kept every SAVE_S, more seldom where that takes its time,
as long as the disk takes it; what nobody wrote down counts as used.
Called by: supervisor.master, supervisor.fleet.  Raises: OSError from `Lending`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from postroom.config.limits import LimitTable
from postroom.config.model import Config
from postroom.control.paths import RunPaths, make_private_directory
from postroom.core.clock import Clock
from postroom.core.decoding import UNDECODABLE
from postroom.core.limits import Limit, LimitKey
from postroom.observe.events import EventSink, RatesNotKept, SiteWindowChanged
from postroom.shaping.governor import Claim, Governor, Grant
from postroom.shaping.lessons import Lessons
from postroom.shaping.meters import Uses
from postroom.spool.embedded.disk import RealDisk, write_atomically

SAVE_S = 1.0
SAVE_SHARE = 50
"""Of a hundred thousand sites to be written down: no more than this part of the time."""
GRACE_S = 1.0
"""How long the hosts that a worker was connected to may take to see that it has died."""
_IN_USE = b"in use\n"
LOCK_RETRY_S = 0.1

_Used = tuple[dict[LimitKey, float], Uses]
"""How far rates and plans by days are used up."""


class KeptRates(msgspec.Struct, frozen=True):
    """BASE/rates: the theoretical arrival time of each limit that is used up for a while yet.

    `is_complete` where the server ended in good order as this was written. After any other end
    a rate is taken as if all that may go at once had just gone. `uses` are of plans by days: the
    day, and what was used on it; after a crash the last second of it may be missing.
    """

    is_complete: bool
    arrivals: tuple[tuple[str, str, str, float], ...]
    uses: tuple[tuple[str, str, str, int, int], ...] = ()


class Lending:
    """What is lent to the workers of one server."""

    def __init__(self, config: Config, clock: Clock, events: EventSink) -> None:
        self._limits = LimitTable(config)
        self.lessons = Lessons()
        """What replies say of sites, some of which is that they are to be slow."""
        self._clock = clock
        self._events = events
        self._path = Path(config.spool.base) / "rates"
        self._tellers: dict[int, Callable[[tuple[Grant, ...]], None]] = {}
        self._last = 0
        self._timer: asyncio.TimerHandle | None = None
        self._saved: _Used = ({}, {})
        self._tells_failure = True
        self.governor = Governor(self._limit_of)
        self.governor.is_adaptive = config.limits.adaptive
        self.governor.on_window = lambda key, slots, before, is_over: events.emit(
            SiteWindowChanged(key.name, key.site, slots, before, is_over)
        )
        run = RunPaths(config.spool.base).directory
        make_private_directory(run)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self.descriptor = os.open(run / "lending", flags, 0o600)
        # After a crash there may be connections that the other side has not seen end yet.
        self._was_crash = os.pread(self.descriptor, len(_IN_USE), 0) != b""
        os.pwrite(self.descriptor, _IN_USE, 0)
        self.governor.is_open = self._locked() and not self._was_crash
        self._remember()

    def close(self) -> None:
        """Keep the rates as they are at the end; the lock lasts as long as workers do."""
        if self._timer is not None:
            self._timer.cancel()
        self._save(self._used(), is_complete=True)
        os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)

    async def run(self) -> None:
        """Wait for those of an earlier server; keep the rates, until cancelled."""
        while not self._locked():
            await asyncio.sleep(LOCK_RETRY_S)
        if not self.governor.is_open:
            await asyncio.sleep(GRACE_S)
            self.governor.open(self._clock.now())
            self._tell()
        clock, took_s = asyncio.get_running_loop().time, 0.0
        while True:
            await asyncio.sleep(max(SAVE_S, SAVE_SHARE * took_s))
            began = clock()
            used = self._used()
            if used != self._saved:
                await asyncio.to_thread(self._save, used, is_complete=False)
            took_s = clock() - began

    def join(self, tell: Callable[[tuple[Grant, ...]], None]) -> int:
        """Return the number of a new holder, which is told what it gets by `tell`."""
        self._last += 1
        self._tellers[self._last] = tell
        return self._last

    def leave(self, holder: int, *, in_order: bool) -> None:
        """Note that the process of a holder has ended."""
        del self._tellers[holder]
        if in_order:
            self._free(holder)
        else:
            asyncio.get_running_loop().call_later(GRACE_S, self._free, holder)

    def claim(self, holder: int, claims: Sequence[Claim]) -> None:
        """Take what a holder says."""
        self.governor.claim(holder, claims, self._clock.now())
        self._tell()

    def reconfigure(self, config: Config) -> None:
        """Put other limits in force."""
        self._limits = LimitTable(config)
        self.governor.adapt(wanted=config.limits.adaptive, now=self._clock.now())
        self.look_again()

    def look_again(self) -> None:
        """Put the limits in force that hold now."""
        self.governor.reconfigure(self._clock.now())
        self._tell()

    # Inside.

    def _free(self, holder: int) -> None:
        self.governor.leave(holder, self._clock.now())
        self._tell()

    def _limit_of(self, key: LimitKey) -> Limit:
        limit = self._limits.of(key)
        if key.kind == "site" and self.lessons:
            return self.lessons.limit(key.site, limit, self._clock.now())
        return limit

    def _tell(self) -> None:
        for holder, grants in self.governor.grants().items():
            tell = self._tellers.get(holder)
            if tell is not None:
                tell(tuple(grants))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_at = self.governor.next_at
        if next_at is not None:
            delay_s = max(0.0, next_at - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.governor.tick(self._clock.now())
        self._tell()

    def _locked(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _remember(self) -> None:
        """Take up the rates where an earlier server left them."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=KeptRates)
        except FileNotFoundError:
            kept = KeptRates(True, ())
        except (OSError, *UNDECODABLE) as error:
            self._events.emit(RatesNotKept(f"cannot be read: {error}"))
            kept = KeptRates(False, ())
        arrivals = {LimitKey(kind, name, site): at for kind, name, site, at in kept.arrivals}
        uses = _uses_of(kept)
        self.governor.remember(arrivals, uses)
        if not kept.is_complete:
            self.governor.forget_bursts(self._clock.now())
        if kept.is_complete and (kept.arrivals or kept.uses or self._limits.has_rates):
            # From now on the file does not know everything any more.
            self._save((arrivals, uses), is_complete=False)

    def _used(self) -> _Used:
        now = self._clock.now()
        return self.governor.arrivals(now), self.governor.uses(now)

    def _save(self, used: _Used, *, is_complete: bool) -> None:
        arrivals, uses = used
        if not arrivals and not uses and not self._limits.has_rates and not self._path.exists():
            return
        rows = tuple((*key, at) for key, at in sorted(arrivals.items()))
        try:
            days = tuple((*key, *use) for key, use in sorted(uses.items()))
            octets = msgspec.json.encode(KeptRates(is_complete, rows, days))
            write_atomically(RealDisk(), self._path, octets)
        except OSError as error:
            if self._tells_failure:
                self._events.emit(RatesNotKept(f"cannot be written: {error}"))
            self._tells_failure = False
            return
        self._tells_failure = True
        self._saved = used


def kept_uses(base: str) -> Uses:
    """Return what was used of plans by days, as the disk has it; {} where it cannot be read."""
    try:
        octets = (Path(base) / "rates").read_bytes()
        return _uses_of(msgspec.json.decode(octets, type=KeptRates))
    except (OSError, *UNDECODABLE):
        return {}


def _uses_of(kept: KeptRates) -> Uses:
    return {LimitKey(kind, name, site): (day, used) for kind, name, site, day, used in kept.uses}
