"""What an overview costs a worker that has a million messages and 100,000 sites with mail.

    python -m bench.overview_cost
    python -m bench.overview_cost --messages 100000 --sites 10000

A queue is filled through the store's verbs, and as many lanes as asked for get an entry each;
then the overview is asked for once a second, as `postroom top` does. Printed are what an answer
takes, the processor time of the process while it is asked for and while it is not, and how long
the event loop was held at most: what mail may wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from bench.big_queue import SIZE_OCTETS, fill
from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import SystemClock
from postroom.core.ids import QueueId
from postroom.delivery.agent import RoutedAgent
from postroom.engine.channel_counts import channel_by
from postroom.engine.engine import Engine
from postroom.engine.parts import Parts
from postroom.engine.policy import EnginePolicy
from postroom.engine.survey import Survey, Wanted
from postroom.engine.view_rows import ViewRows
from postroom.observe.events import EventList
from postroom.queueing.lane import Entry, LaneKey
from postroom.routing.policy import MxRoute
from postroom.routing.router import Router
from postroom.routing.table import StaticResolver
from postroom.spool.embedded import open_store, prepare_base
from postroom.spool.policy import SpoolPolicy

PULSE_S = 0.001


class Pulse:
    """How long the event loop was held at most."""

    def __init__(self) -> None:
        self.most_s = 0.0

    async def run(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(PULSE_S)
            self.most_s = max(self.most_s, time.perf_counter() - began - PULSE_S)


async def measure(options: argparse.Namespace, directory: Path) -> None:
    policy = SpoolPolicy(str(directory / "spool"), count=1)
    [queue] = prepare_base(policy).queues
    clock = SystemClock()
    store = open_store(queue.path, policy, events=EventList(), clock=clock)
    print(f"filling: {options.messages} messages, {options.domains} domains", flush=True)
    await fill(store, options.messages, options, 1)
    channels = (ChannelPolicy("bulk", match=("*7.example",)), ChannelPolicy("default"))
    routes = {"default": MxRoute()}
    router = Router(channels, routes, StaticResolver(), clock, "bench.example")
    entropy = random.Random(1)
    agent = RoutedAgent(StaticResolver(), clock, entropy, "bench.example")
    engine = Engine(
        Parts(store, router, agent, clock, entropy, EventList()), EnginePolicy(), "bench.example"
    )
    now = clock.now()
    for number in range(options.sites):
        name = f"d{number}.example"
        key = LaneKey(router.channel_of(name).name, f"mx:{name}")
        due_at = now - entropy.uniform(0, 600)
        engine.scheduler.add(
            Entry(QueueId("0" * 20), (0,), key, due_at, due_at), router.channel_of(name)
        )
    rows = ViewRows(engine, agent.health.hosts, agent)
    survey = Survey(1, engine, store, channel_by(router), rows, clock, channels)
    pulse = Pulse()
    pulsing = asyncio.create_task(pulse.run())
    await asyncio.sleep(2)
    idle, pulse.most_s = pulse.most_s, 0.0
    idle_cpu = await cpu_of(asyncio.sleep(5)) / 5
    began = time.perf_counter()
    pulse.most_s = 0.0
    answer = await survey.overview(Wanted())
    first_s, first_held = time.perf_counter() - began, pulse.most_s
    walls, costs = [], []
    pulse.most_s = 0.0
    began = time.perf_counter()

    async def ask() -> None:
        for _ in range(options.calls):
            start = time.perf_counter()
            one = await survey.overview(Wanted())
            walls.append(time.perf_counter() - start)
            costs.append(one.cost_s)
            await asyncio.sleep(1.0)

    cpu = await cpu_of(ask()) / (time.perf_counter() - began)
    size = len(msgspec.json.encode(answer))
    pulsing.cancel()
    print(f"sites {answer.sites_total}, sent {len(answer.sites)}, answer {size} octets")
    print(f"stored {answer.stored}")
    print(f"first answer          {first_s * 1000:8.1f} ms, loop held {first_held * 1000:.1f} ms")
    print(f"answer, median        {statistics.median(walls) * 1000:8.1f} ms")
    print(f"answer, longest       {max(walls) * 1000:8.1f} ms")
    print(f"its rows, median      {statistics.median(costs) * 1000:8.1f} ms CPU")
    print(f"CPU while asked 1/s   {(cpu - idle_cpu) * 1000:8.1f} ms each second")
    print(f"loop held at most     {pulse.most_s * 1000:8.1f} ms ({idle * 1000:.1f} ms before)")
    await store.close()


async def cpu_of(work: object) -> float:
    began = time.process_time()
    await work  # type: ignore[misc]
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.set_defaults(octets=SIZE_OCTETS)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--sites", type=int, default=100_000)
    parser.add_argument("--domains", type=int, default=100_000)
    parser.add_argument("--due-percent", type=float, default=10.0)
    parser.add_argument("--calls", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overview-") as directory:
        asyncio.run(measure(options, Path(directory)))


if __name__ == "__main__":
    main()
