"""Mail that could go another way than what was asked for waits for nobody's tokens."""

from __future__ import annotations

from collections.abc import Sequence

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import encode
from postroom.core.limits import Limit, LimitKey, Rate
from postroom.engine.lessee import Lessee
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.queueing.tenants import TenantShare
from postroom.shaping.governor import Claim, Governor
from postroom.shaping.pauses import Pause
from postroom.shaping.source import SourcePolicy

SITE_RATE = Rate(100, 10, 10)
HOURLY = Rate(1, 3600, 1)
BEGIN = 1_000_000.0
STEP_S, SWEEP_S = 0.05, 1.0


class Queue:
    """One queue with a governor that answers at once; an attempt ends as it begins."""

    def __init__(self, channel: ChannelPolicy, limits: dict[LimitKey, Limit]) -> None:
        self.channel = channel
        limits[channel.site_key("s")] = channel.site_limit
        self.governor = Governor(lambda key: limits.get(key, Limit()))
        self.lessee = Lessee(self)
        self.scheduler = Scheduler(50, (1.0,), self.lessee, [])
        self.lessee.on_open = self.scheduler.opened
        self.now = BEGIN
        self.started: list[tuple[str, float]] = []
        """From which source, or of which tenant, and when."""
        self._claims: list[list[Claim]] = []
        self._serial = 0
        self._swept_at = BEGIN

    def claim(self, claims: Sequence[Claim]) -> None:
        self._claims.append(list(claims))

    def add(self, tenant: str = "") -> None:
        self._serial += 1
        entry = Entry(encode(self._serial, 1, 1), (0,), LaneKey("c", "s"), 0.0, 0.0)
        entry.tenant = tenant
        self.scheduler.add(entry, self.channel)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            scheduler, now = self.scheduler, self.now
            scheduler.look_again(scheduler.departures.resumed(now))
            for entry in scheduler.tick(now):
                source = entry.allowance.source_name if entry.allowance is not None else ""
                self.started.append((source or entry.tenant, now - BEGIN))
                scheduler.finish(entry, reached=True)
            for gate, slots, tokens, needs in scheduler.shortages():
                self.lessee.want(gate, slots, tokens, now, needs)
            self.lessee.flush()
            while self._claims:
                self.governor.claim(1, self._claims.pop(0), now)
            self.governor.tick(now)
            for grants in self.governor.grants().values():
                self.lessee.follow(grants, now)
            if now >= self._swept_at + SWEEP_S:
                self._swept_at = now
                self.lessee.sweep(now)
            self.now += STEP_S


def test_mail_of_a_free_tenant_does_not_wait_for_that_of_one_at_its_rate() -> None:
    queue = Queue(
        ChannelPolicy("c", site_rate=SITE_RATE), {LimitKey("tenant", "few"): Limit(None, HOURLY)}
    )
    queue.scheduler.tenants.reconfigure({"few": TenantShare(1, Limit(None, HOURLY))})
    queue.add("few")
    queue.add("few")
    queue.run(10)
    # Now a token of the site is asked for that needs one of this tenant, which has none.
    queue.add("few")
    queue.run(5)
    assert [name for name, _ in queue.started] == ["few"]
    queue.add("free")
    queue.run(5)
    assert [name for name, _ in queue.started] == ["few", "free"]


def test_a_source_whose_pause_ends_is_used_though_another_was_asked_for() -> None:
    sources = (
        SourcePolicy("slow", ("192.0.2.1",), rate=HOURLY),
        SourcePolicy("paused", ("192.0.2.2",), concurrency=5),
    )
    queue = Queue(
        ChannelPolicy("c", site_rate=SITE_RATE, sources=("slow", "paused")),
        {source.key: source.limit for source in sources},
    )
    queue.scheduler.departures.reconfigure(sources)
    queue.scheduler.departures.pauses.replace([Pause("paused", until=BEGIN + 20)], "")
    queue.add()
    queue.add()
    queue.run(10)
    queue.add()
    queue.run(5)
    assert [name for name, _ in queue.started] == ["slow"]
    queue.run(10)
    assert [name for name, _ in queue.started] == ["slow", "paused", "paused"]
    assert queue.started[-1][1] < 22
