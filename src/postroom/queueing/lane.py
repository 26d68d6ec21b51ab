"""A lane: the due mail of one channel for one site, in order.

Owns the number of attempts in flight, and the site's window: how many attempts it may have
at once. Its entries wait in queueing.waiting. The window opens with each attempt that reached the
site, and closes to a single probe after the site could not be used at all; then the lane
rests, twice as long after each further failure.

Guarantees: 1. entries of one rank come out by due time, less their lead, then arrival.
2. 0 <= busy <= window_max at each start. 3. a lane that rests starts nothing.
Called by: queueing.scheduler.  Raises: nothing; misuse is an AssertionError.
"""

from __future__ import annotations

from typing import NamedTuple

from postroom.channels.policy import ChannelPolicy
from postroom.queueing.entry import Entry as Entry
from postroom.queueing.entry import LaneKey as LaneKey
from postroom.queueing.tenant_turns import TenantTurns
from postroom.queueing.tenants import Tenants
from postroom.queueing.waiting import Waiting
from postroom.queueing.way import Way
from postroom.shaping.gate import Gate

WINDOW_INITIAL = 5
"""Attempts at once to a site nothing is known of: enough to be quick, few enough to be polite."""

REST_MAX_S = 900.0
"""A site is looked at again at least this often, however long it has been down."""


class Rest(NamedTuple):
    """Since and until when a lane rests, and why.

    `rule` is the reply rule that suspends the site, "" where its hosts could not be used.
    """

    since: float
    until: float
    reply: str
    rule: str = ""

    @property
    def reason(self) -> str:
        """What mail is told that is not tried."""
        if self.rule:
            return f"the site is suspended by reply rule {self.rule}: {self.reply}"
        return f"the site is resting: {self.reply}"


class Lane:
    """Entries of one channel and site."""

    __slots__ = (
        "_by_tenant",
        "_credit",
        "_failures",
        "_is_careful",
        "_tenants",
        "_waiting",
        "busy",
        "channel",
        "gate",
        "gates",
        "key",
        "listed",
        "recipients",
        "rest",
        "way",
        "window",
    )

    def __init__(
        self, key: LaneKey, channel: ChannelPolicy, gate: Gate, tenants: Tenants | None = None
    ) -> None:
        """`gate` is that of the site's limit; `tenants` take turns where mail is of any."""
        self.key = key
        self.channel = channel
        self.gate = gate
        self.gates: tuple[Gate, ...] = (gate,)
        """All that its attempts are counted at; kept by the scheduler."""
        self.busy = 0
        self.window = WINDOW_INITIAL
        self.recipients = 0
        self.listed: set[int] = set()
        """The ranks for which it has a turn, or waits for one."""
        self.rest: Rest | None = None
        self.way: Way | None = None
        """From which sources it may depart, where that is limited; kept by the departures."""
        self._credit = 0.0
        self._is_careful = False
        self._failures = 0
        self._waiting = Waiting()
        self._tenants = tenants
        self._by_tenant: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ranks(self) -> list[int]:
        """Return the ranks of which entries wait."""
        return self._waiting.ranks()

    @property
    def first_due(self) -> float:
        """Since when the first entry is due; there must be one that was not cancelled."""
        return self._waiting.first_due

    def has_waiting(self) -> bool:
        """Say whether an entry waits; those that were cancelled in front of it are let go."""
        return self._waiting.trim()

    def push(self, entry: Entry) -> None:
        """Add an entry at its place in the order."""
        if entry.tenant:
            self._of_tenant(entry)
        self._waiting.push(entry)
        self.recipients += len(entry.indexes)

    def left(self, entry: Entry) -> None:
        """Count the recipients of an entry no more: it has ended, or was taken back."""
        number = len(entry.indexes)
        self.recipients -= number
        if entry.tenant:
            self._by_tenant[entry.tenant] -= number
            if not self._by_tenant[entry.tenant]:
                del self._by_tenant[entry.tenant]

    def recipients_of(self, tenant: str) -> int:
        """Return the recipients of a tenant; where nobody is told apart, of all."""
        if not tenant:
            return self.recipients - sum(self._by_tenant.values())
        return self._by_tenant.get(tenant, 0)

    def tenants(self, rank: int | None = None) -> list[str]:
        """Return the tenants of which entries wait, "" for none; empty where none is known."""
        return self._waiting.tenants(rank) if isinstance(self._waiting, TenantTurns) else []

    def clip(self, lowest: int) -> None:
        """Let entries of ranks that there are no more have the last one."""
        self._waiting.clip(lowest)

    def pop(self, rank: int = 0, now: float = 0.0) -> Entry | None:
        """Take out the entry of a rank whose turn it is; None where there is none."""
        return self._waiting.pop(rank, now)

    def unpop(self, entry: Entry) -> None:
        """Take an entry back that was popped and cannot start yet."""
        self._waiting.unpop(entry)

    def can_start(self, now: float, rank: int = 0) -> bool:
        """True where an entry of a rank waits and the window and a rest allow an attempt."""
        if self.busy >= self.window or not self._waiting.has(rank):
            return False
        return self.rest is None or now >= self.rest.until

    def resting(self, now: float) -> Rest | None:
        """Return the rest that is on at `now`, if any."""
        return self.rest if self.rest is not None and now < self.rest.until else None

    def reached(self, started_at: float) -> bool:
        """Note that the site was reached: open the window; True where this ends a rest.

        What began before a rule suspended the site says nothing against that.
        """
        if self.rest is not None and self.rest.rule and started_at < self.rest.until:
            return False
        if self.gate.is_watched:
            self.gate.good += 1
        if self.window < self.channel.site_concurrency:
            # Where one was too many before, by one for a whole window that went well.
            self._credit += 1.0 / self.window if self._is_careful and self.window else 1.0
            if self._credit >= 1.0:
                self._credit = 0.0
                self.window += 1
        ended = self.rest is not None
        self.rest = None
        self._failures = 0
        return ended

    def start_slowly(self) -> None:
        """Begin with few attempts, as at a site nothing is known of."""
        self.window = min(self.window, WINDOW_INITIAL)

    def refused(self) -> None:
        """Note that an attempt was one too many: no more than there are now, for the moment.

        Where there are none the window is closed: somebody is to reopen it after a moment.
        """
        self.window = self.busy
        self._is_careful, self._credit = True, 0.0
        self.gate.refused += 1

    def reopen(self) -> None:
        """Let one attempt look whether there is room now."""
        self.window = max(1, self.window)

    def unreachable(
        self, now: float, base_s: float, reply: str, *, untried: bool = False, until: float = 0.0
    ) -> Rest:
        """Note that the site could not be used: rest, and then probe with one attempt.

        It rests until a host is to be probed, where that is known; else by a length of its own.
        """
        current = self.resting(now)
        if current is not None:
            # Attempts that were in flight when the rest began fail one after the other;
            # they tell nothing new.
            return current
        self.window = 1
        if until > now:
            self.rest = Rest(now, until, reply)
            return self.rest
        if untried:
            # Its length goes by what was found out: nothing was.
            self.rest = Rest(now, now + base_s, reply)
            return self.rest
        self._failures += 1
        length_s = min(base_s * 2.0 ** min(self._failures - 1, 16), max(REST_MAX_S, base_s))
        self.rest = Rest(now, now + length_s, reply)
        return self.rest

    def suspend(self, rest: Rest) -> None:
        """Rest because a rule says so, and then begin with one attempt."""
        self.rest = rest
        self.window = 1

    def drain(self) -> list[Entry]:
        """Take out everything that waits, in order, the first rank first."""
        entries = self._waiting.drain()
        for entry in entries:
            self.left(entry)
        return entries

    def _of_tenant(self, entry: Entry) -> None:
        """Count the recipients of an entry as those of its tenant, who takes turns from now on."""
        known = self._by_tenant.get(entry.tenant, 0)
        self._by_tenant[entry.tenant] = known + len(entry.indexes)
        if self._tenants is not None and not isinstance(self._waiting, TenantTurns):
            self._waiting = TenantTurns(self._waiting, self._tenants)

    def is_idle(self, now: float) -> bool:
        """True where nothing would be lost by forgetting the lane."""
        if self._waiting or self.busy:
            return False
        return self.rest is None or now > self.rest.until + REST_MAX_S
