"""The survey says what a queue is like, at a cost that does not grow with who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.errors import StoreUnavailable
from postroom.core.limits import Limit
from postroom.core.reply import Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.engine.channel_counts import channel_by
from postroom.engine.looks import Look
from postroom.engine.survey import SLICE, Survey, Wanted
from postroom.engine.tallies import SITES_MAX, Tallies, host_of
from postroom.engine.view_rows import ViewRows
from postroom.engine.views import Done, QueueOverview, Stored
from postroom.groups.tenants import TenantPolicy
from postroom.observe.events import RecipientDelivered
from postroom.queueing.why import channel_suspended
from postroom.shaping.hosts import Hosts
from postroom.spool.memory import MemoryStore
from postroom.spool.store import DomainCount
from tests.sim.loop import VirtualLoop
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent, deferred, delivered, failed

Steps = Callable[[], Awaitable[None]]


def run(steps: Steps) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(steps())
    finally:
        loop.close()


class NothingOpen:
    def connections(self) -> dict[tuple[str, str, str], int]:
        return {}


def survey_of(bench: Bench, channels: Any) -> Survey:
    rows = ViewRows(bench.engine, Hosts(), NothingOpen())
    return Survey(
        1, bench.engine, bench.store, channel_by(bench.router), rows, bench.clock, channels
    )


def row(found: QueueOverview, name: str) -> Any:
    [one] = [one for one in found.channels if one.name == name]
    return one


SLOW = ChannelPolicy("slow", match=("d1.test",), concurrency=2, retry=NO_JITTER)
DEFAULT = ChannelPolicy("default", retry=NO_JITTER)


def test_a_queue_with_nothing_to_do_shows_its_channels_and_no_more() -> None:
    async def steps() -> None:
        bench = Bench(ScriptedAgent(), (SLOW, DEFAULT))
        found = await survey_of(bench, (SLOW, DEFAULT)).overview(Wanted())
        assert [one.name for one in found.channels] == ["slow", "default"]
        assert (found.sites, found.sites_total, found.stored, found.load) == ((), 0, Stored(), None)

    run(steps)


def test_channels_and_sites_say_what_is_done_what_waits_and_what_binds() -> None:
    def answer(attempt: Attempt) -> AttemptReport:
        domain = attempt.envelope.recipients[0].domain
        return {"d2.test": deferred, "d3.test": failed}.get(domain, delivered)(attempt)

    async def steps() -> None:
        bench = Bench(ScriptedAgent(answer, takes_s=10.0), (SLOW, DEFAULT))
        bench.engine.start()
        for number in range(5):
            await bench.put(f"r{number}@d1.test")
        for domain in ("d2.test", "d3.test", "d4.test"):
            await bench.put(f"r@{domain}")
        survey = survey_of(bench, (SLOW, DEFAULT))
        await asyncio.sleep(5)
        found = await survey.overview(Wanted(order="backlog"))
        slow = row(found, "slow")
        assert (slow.in_flight, slow.ready, slow.limit, slow.sites) == (2, 3, 2, 1)
        assert slow.done == Done(accepted=5) and slow.stored == Stored(waiting=5)
        assert slow.binds.startswith("channel slow may have 2 connections")
        assert found.load is not None and (found.load.name, found.load.load) == ("slow", 2.5)
        assert bench.clock.now() - slow.oldest_due == pytest.approx(5.0, abs=0.5)
        assert found.sites[0].why.site == "mx.d1.test" or found.sites[0].recipients == 5
        await asyncio.sleep(7)
        found = await survey.overview(Wanted())
        assert row(found, "slow").done == Done(accepted=5, delivered=2)
        # The DSN about what failed was taken in as well.
        assert row(found, "default").done == Done(4, delivered=1, deferred=1, failed=1)
        assert row(found, "default").stored.deferred == 1
        errors = {one.why.site: one.error.reply for one in found.sites if one.error is not None}
        assert sorted(reply[:3] for reply in errors.values()) == ["451", "550"]
        assert sum(one.done.delivered for one in found.sites) == 3
        stats = bench.engine.stats()
        assert (stats.delivered, stats.deferred, stats.failed) == (3, 1, 1)
        await bench.engine.stop(1)

    run(steps)


def test_a_channel_that_is_suspended_says_so_in_the_words_of_why() -> None:
    async def steps() -> None:
        held = ChannelPolicy("slow", match=("d1.test",), concurrency=0, is_suspended=True)
        bench = Bench(ScriptedAgent(), (held, DEFAULT))
        bench.engine.start()
        await bench.put("r@d1.test")
        await asyncio.sleep(1)
        found = await survey_of(bench, (held, DEFAULT)).overview(Wanted(channel="slow"))
        assert row(found, "slow").binds == channel_suspended("slow")
        [site] = found.sites
        [why] = await bench.engine.explainer.lanes("slow")
        assert site.why == why
        await bench.engine.stop(1)

    run(steps)


def test_a_site_that_rests_comes_first_and_a_text_leaves_others_out() -> None:
    def answer(attempt: Attempt) -> AttemptReport:
        bad = attempt.envelope.recipients[0].domain == "d2.test"
        return deferred(attempt, FailureScope.SITE) if bad else delivered(attempt)

    async def steps() -> None:
        bench = Bench(ScriptedAgent(answer, takes_s=1.0), (DEFAULT,))
        bench.engine.start()
        for domain in ("d1.test", "d2.test", "d3.test"):
            for number in range(3):
                await bench.put(f"r{number}@{domain}")
        await asyncio.sleep(2)
        survey = survey_of(bench, (DEFAULT,))
        found = await survey.overview(Wanted(limit=2))
        assert len(found.sites) == 2 and found.sites_total == 3
        assert "d2.test" in found.sites[0].why.site and found.sites[0].why.rests_until
        found = await survey.overview(Wanted(text="d3"))
        assert ["d3.test" in one.why.site for one in found.sites] == [True]
        assert row(found, "default").sites == 3, "a filter is about the sites that are sent"
        await bench.engine.stop(1)

    run(steps)


def test_scheduled_held_and_quarantined_mail_is_told_apart() -> None:
    async def steps() -> None:
        bench = Bench(ScriptedAgent(), (DEFAULT,))
        ids = [await bench.put(f"r{number}@d1.test") for number in range(4)]
        await bench.store.hold((ids[0],), "looked at")
        await bench.store.hold((ids[1],), "quarantine: it crashed us")
        await bench.store.make_due((ids[2],), bench.clock.now() + 900)
        found = await survey_of(bench, (DEFAULT,)).overview(Wanted())
        assert found.stored == Stored(waiting=1, scheduled=1, held=2, quarantined=1)
        assert row(found, "default").stored == found.stored and found.stored.backlog == 4

    run(steps)


def test_a_store_that_cannot_be_counted_does_not_hide_the_rest() -> None:
    class Broken(MemoryStore):
        async def census(
            self, now: float, after: str = "", limit: int | None = None
        ) -> list[DomainCount]:
            raise StoreUnavailable(Reply(451, "4.3.0", "the disk is gone"))

    async def steps() -> None:
        bench = Bench(ScriptedAgent(takes_s=50.0), (DEFAULT,), store=Broken())
        bench.engine.start()
        await bench.put("r@d1.test")
        await asyncio.sleep(1)
        found = await survey_of(bench, (DEFAULT,)).overview(Wanted())
        assert (found.counted_at, found.stored) == (0.0, Stored())
        assert row(found, "default").in_flight == 1
        await bench.engine.stop(0.1)

    run(steps)


def test_tenants_with_most_to_do_are_sent() -> None:
    async def steps() -> None:
        tenants = [
            TenantPolicy("big", senders=("big@home.test",)),
            TenantPolicy("none", senders=("none@home.test",), concurrency=0),
        ]
        bench = Bench(ScriptedAgent(takes_s=100.0), (SLOW, DEFAULT), tenants=tenants)
        bench.engine.start()
        for name, count in (("big", 4), ("none", 2)):
            for number in range(count):
                await bench.put(f"r{number}@d1.test", reverse_path=f"{name}@home.test")
        await asyncio.sleep(1)
        found = await survey_of(bench, (SLOW, DEFAULT)).overview(Wanted(limit=1))
        assert found.tenants_total == 2 and [one.name for one in found.tenants] == ["big"]
        assert (found.tenants[0].in_flight, found.tenants[0].ready) == (2, 2)
        found = await survey_of(bench, (SLOW, DEFAULT)).overview(Wanted())
        assert [(one.name, one.limit, one.ready) for one in found.tenants][1] == ("none", 0, 2)
        assert Limit(0).slots == 0
        await bench.engine.stop(1)

    run(steps)


def test_many_lanes_are_looked_at_in_turns_with_everything_else() -> None:
    async def steps() -> None:
        bench = Bench(ScriptedAgent(takes_s=1000.0), (DEFAULT,), domains=3 * SLICE)
        bench.engine.start()
        for number in range(3 * SLICE):
            await bench.put(f"r@d{number}.test")
        await asyncio.sleep(1)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(others())
        found = await survey_of(bench, (DEFAULT,)).overview(Wanted(limit=5))
        beside.cancel()
        assert found.sites_total == row(found, "default").sites and len(found.sites) == 5
        assert found.sites_total > 2 * SLICE and turns >= 3
        await bench.engine.stop(0.1)

    run(steps)


def test_a_look_that_costs_much_is_taken_seldom_and_nobody_waits_for_it() -> None:
    async def steps() -> None:
        made = 0

        async def make() -> int:
            nonlocal made
            made += 1
            await asyncio.sleep(1.0)
            return made

        loop = asyncio.get_running_loop()
        look = Look(make, share=0.02, wait_s=0.1)
        assert await look.get() is None, "who asks first does not wait for long"
        await asyncio.sleep(0.6)
        assert await look.get() == 1 and look.cost_s == pytest.approx(1.0)
        began = loop.time()
        for _ in range(48):
            assert await look.get() == 1
            await asyncio.sleep(1.0)
        assert loop.time() - began == pytest.approx(48.0)
        await asyncio.sleep(2.0)
        assert await look.get() == 1, "the next is begun, and the newest given"
        await asyncio.sleep(1.5)
        assert await look.get() == 2 and made == 2

    run(steps)


def test_a_look_that_fails_leaves_what_was_seen_before() -> None:
    async def steps() -> None:
        answers: list[Any] = [OSError("gone"), 1, OSError("gone"), 2]

        async def make() -> int:
            answer = answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return int(answer)

        look = Look(make, share=0.5, wait_s=1.0)
        with pytest.raises(OSError, match="gone"):
            await look.get()
        await asyncio.sleep(1)
        assert await look.get() == 1
        await asyncio.sleep(1)
        assert await look.get() == 1
        await asyncio.sleep(1)
        assert await look.get() == 2

    run(steps)


def test_tallies_forget_the_sites_that_were_new_first() -> None:
    class Now:
        def now(self) -> float:
            return 5.0

    tallies = Tallies(Now())
    for number in range(SITES_MAX + 3):
        tallies.note(RecipientDelivered("i", "r", "c", f"s{number}", "h", "250", 1, 0.1))
    assert len(tallies.sites) == SITES_MAX and ("c", "s2") not in tallies.sites
    assert tallies.channels["c"].delivered == SITES_MAX + 3 and not tallies.hosts


@pytest.mark.parametrize(
    ("label", "host"),
    [
        ("mta1.example[192.0.2.1]:25", "mta1.example:25"),
        ("[192.0.2.1]:2525", "192.0.2.1:2525"),
        ("unix:/run/lmtp", "unix:/run/lmtp"),
    ],
)
def test_a_host_is_counted_by_the_name_that_listings_have(label: str, host: str) -> None:
    assert host_of(label) == host
