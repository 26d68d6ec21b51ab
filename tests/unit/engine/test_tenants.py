"""Tenants in one queue, in virtual time: none waits for the backlog of another."""

from __future__ import annotations

import asyncio
import random

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from postroom.channels.policy import ChannelPolicy
from postroom.core.message import Provenance
from postroom.engine.policy import EnginePolicy
from postroom.groups.tenants import TenantPolicy
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent
from tests.support.examples import examples

ATTEMPT_S = 0.1
SLOTS = 5
CHANNELS = (ChannelPolicy("default", site_concurrency=SLOTS, retry=NO_JITTER),)
# No rescan comes to the rescue; of a site only a few of each tenant are in memory.
SMALL = EnginePolicy(active_max=200, lane_active_max=20, rescan_s=3600.0)
BIG, SMALL_ONE = Provenance(user="big"), Provenance(user="small")


def tenant(name: str, weight: int = 1, concurrency: int | None = None) -> TenantPolicy:
    return TenantPolicy(name, users=(name,), weight=weight, concurrency=concurrency)


def ends(bench: Bench, prefix: str) -> list[float]:
    """Return when the recipients of a prefix were tried."""
    return [
        at
        for at, attempt in bench.agent.attempts
        if attempt.envelope.recipients[0].address.startswith(prefix)
    ]


def test_a_small_mailing_does_not_wait_for_a_backlog_of_another_tenant_on_disk() -> None:
    async def test() -> None:
        tenants = (tenant("big"), tenant("small"))
        bench = Bench(ScriptedAgent(takes_s=ATTEMPT_S), CHANNELS, SMALL, tenants=tenants)
        for number in range(1000):
            await bench.put(f"b{number}@d0.test", provenance=BIG)
        bench.engine.start()
        await asyncio.sleep(2)
        began = asyncio.get_running_loop().time()
        for number in range(20):
            await bench.put(f"s{number}@d0.test", provenance=SMALL_ONE)
        await asyncio.sleep(5)
        # Half of all slots are its own: twice as long as if it were alone, and a little.
        times = ends(bench, "s")
        assert len(times) == 20 and max(times) - began <= 2 * 20 * ATTEMPT_S / SLOTS + 0.5
        await asyncio.sleep(60)
        assert len(ends(bench, "b")) == 1000
        await bench.engine.stop(1)

    run(test())


def test_weights_divide_the_slots_of_a_site_while_all_have_mail() -> None:
    async def test() -> None:
        tenants = (tenant("big", 3), tenant("small", 1))
        bench = Bench(ScriptedAgent(takes_s=ATTEMPT_S), CHANNELS, SMALL, tenants=tenants)
        for number in range(600):
            await bench.put(f"b{number}@d0.test", provenance=BIG)
            await bench.put(f"s{number}@d0.test", provenance=SMALL_ONE)
        bench.engine.start()
        await asyncio.sleep(10)
        shares = len(ends(bench, "b")), len(ends(bench, "s"))
        assert 2.7 <= shares[0] / shares[1] <= 3.3, shares
        assert sum(shares) >= 0.9 * 10 * SLOTS / ATTEMPT_S, "no slot is left unused"
        await bench.engine.stop(1)

    run(test())


def test_a_held_tenant_waits_and_its_mail_goes_once_it_may() -> None:
    async def test() -> None:
        agent = ScriptedAgent(takes_s=ATTEMPT_S)
        held = (tenant("big", concurrency=0), tenant("small"))
        bench = Bench(agent, CHANNELS, SMALL, tenants=held)
        message = ""
        for number in range(100):
            message = await bench.put(f"b{number}@d0.test", provenance=BIG)
            await bench.put(f"s{number}@d0.test", provenance=SMALL_ONE)
        bench.engine.start()
        await asyncio.sleep(30)
        assert (len(ends(bench, "b")), len(ends(bench, "s"))) == (0, 100)
        why = await bench.engine.explainer.message(message)  # type: ignore[arg-type]
        assert why is not None
        assert "tenant big is held: its concurrency is 0" in why.recipients[0].waits_for
        (lane,) = await bench.engine.explainer.lanes("big")
        assert lane.binds == "tenant big is held: its concurrency is 0"
        assert bench.engine.stats().oldest_s == 0.0

        bench.engine.reconfigure(
            SMALL, CHANNELS, "mail.home.test", tenants=(tenant("big", concurrency=2),)
        )
        await asyncio.sleep(30)
        assert len(ends(bench, "b")) == 100
        assert bench.agent.peak == {"mx.d0.test": SLOTS}
        await bench.engine.stop(1)

    run(test())


@examples(20, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_all_mail_of_all_tenants_is_tried_once_and_each_in_its_order(seed: int) -> None:
    chance = random.Random(seed)
    names = ("a", "b", "c", "")
    tenants = tuple(
        tenant(name, chance.randint(1, 9), chance.choice((None, 1, 3))) for name in "ab"
    )

    async def test() -> None:
        bench = Bench(ScriptedAgent(takes_s=0.05), CHANNELS, SMALL, tenants=tenants)
        sent: dict[tuple[str, str], list[str]] = {}
        sent_at: dict[str, float] = {}

        async def put(number: int) -> None:
            name, domain = chance.choice(names), f"d{chance.randint(0, 2)}.test"
            address = f"{name}.{number}@{domain}"
            sent.setdefault((name, domain), []).append(address)
            sent_at[address] = bench.clock.now()
            await bench.put(address, provenance=Provenance(user=name))

        for number in range(chance.randint(0, 300)):
            await put(number)
        bench.engine.start()
        await asyncio.sleep(0.01)
        for number in range(300, 300 + chance.randint(0, 200)):
            await put(number)
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random())
        await asyncio.sleep(600)
        found: dict[tuple[str, str], list[str]] = {}
        for _, attempt in bench.agent.attempts:
            address = attempt.envelope.recipients[0].address
            found.setdefault((address[: address.index(".")], address.partition("@")[2]), []).append(
                address
            )
        assert {key: sorted(who) for key, who in found.items()} == {
            key: sorted(who) for key, who in sent.items()
        }
        for (name, _), who in found.items():
            arrivals = [sent_at[one] for one in who]
            # Mail of users "c" and "" is of no tenant, and in one order.
            assert arrivals == sorted(arrivals), name
        await bench.engine.stop(1)

    run(test())
