"""One run of the simulator: a seed becomes a story, and the story is checked.

A seed decides everything: what mail comes, which hosts and disks fail and when, when the
worker is killed or another started, when the queue is missing. The same seed gives the same run.
"""

from __future__ import annotations

import asyncio

import apsw
import msgspec

from postroom.core.errors import PostroomError
from tests.sim.burglary import StoryOver
from tests.sim.loop import VirtualLoop
from tests.sim.world import World

STEPS = 60
START_TRIES = 50
END_HOURS = 80


class Result(msgspec.Struct):
    """What a run came to."""

    seed: int
    violations: list[str]
    acknowledged: int
    recipients: int
    delivered: int
    duplicates: int
    reports: int
    crashes: int
    refusals: int
    operations: int
    unmounted: int
    """How often a part of the queue went missing under a living worker."""
    missing: int
    """Opens refused because something was missing."""
    rivals: int
    """Second workers refused."""

    def __str__(self) -> str:
        word = "ok" if not self.violations else "VIOLATED"
        return (
            f"seed {self.seed}: {word}; {self.acknowledged} messages acknowledged for "
            f"{self.recipients} recipients, {self.delivered} deliveries, "
            f"{self.duplicates} duplicates, {self.reports} DSNs, {self.crashes} crashes, "
            f"{self.refusals} refused, {self.operations} disk operations, "
            f"{self.unmounted} unmounts, {self.missing} opens without queue, {self.rivals} rivals"
        )


def simulate(seed: int, steps: int = STEPS) -> Result:
    """Run one seed to its end."""
    loop = VirtualLoop()
    world = World(seed, loop)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            runner.run(_story(world, steps))
        except StoryOver:
            pass  # It is among the violations, and the end of this story.
    record = world.record
    return Result(
        seed=seed,
        violations=world.violations,
        acknowledged=len(world.acknowledged),
        recipients=sum(len(recipients) for _, recipients in world.acknowledged.values()),
        delivered=len(record.taken),
        duplicates=len(record.taken) - len(set(record.taken)),
        reports=len(record.reports),
        crashes=world.crashes,
        refusals=world.refusals,
        operations=world.disk.operations,
        unmounted=world.burglary.unmounted,
        missing=world.burglary.refused,
        rivals=world.burglary.rivals,
    )


async def _story(world: World, steps: int) -> None:
    chance = world.chance
    await _start(world)
    for _ in range(steps):
        await asyncio.sleep(chance.expovariate(1 / chance.choice((0.02, 0.5, 20.0))))
        throw = chance.random()
        if throw < 0.70:
            for _ in range(chance.choice((1, 1, 1, 5))):
                world.inject()
        elif throw < 0.82:
            world.upset()
        elif throw < 0.92:
            await world.check()
        else:
            await _crash(world)
        world.burglary.while_up()
        world.burglary.rival()
    world.heal()
    if world.burglary.is_missing:
        world.burglary.remount()
    for _ in range(END_HOURS):
        await world.release()
        await asyncio.sleep(3600)
        await world.check()
        if world.store is None or world.store.counts().messages == 0:
            break
        if world.disk.off:
            await _crash(world)
    world.check_end()
    assert world.store is not None and world.engine is not None
    left = world.store.counts()
    if left.messages:
        world.violations.append(f"not everything came to its end: {left}")
    await world.engine.stop(60)
    await world.store.close()


async def _crash(world: World) -> None:
    chance = world.chance
    match chance.choice(("kill", "power", "in the middle")):
        case "kill":
            world.kill(power=False)
        case "power":
            world.kill(power=True)
        case _:
            # The power goes at some operation soon to come.
            world.disk.stop_at = world.disk.operations + chance.randint(1, 40)
            for _ in range(3):
                world.inject()
            await asyncio.sleep(chance.choice((0.01, 1.0, 10.0)))
            world.kill(power=True)
    await asyncio.sleep(chance.random())
    world.burglary.while_down()
    await _start(world)


async def _start(world: World) -> None:
    for _ in range(START_TRIES):
        world.burglary.wait()
        try:
            world.start()
        except (PostroomError, OSError, apsw.Error):
            await asyncio.sleep(1)
            world.disk.restart()
        else:
            return
    world.hold(False, "the queue does not open any more")
    raise StoryOver
