"""Octets flipped in a spool at rest: each is noticed, or changes nothing.

A base of one queue is filled, and stopped or killed (then its journal is still to be read). One
octet of one file is changed. Then what a server would do is done: the base is prepared, the queue
opened, every message read; and what an operator would: `fsck`.

An outcome is: refused (the queue or the base does not open, and the error names the file),
quarantined (the content of a message is damaged, and is not given away), told (an event or fsck
names it), or harmless (every message is as it was). Anything else is a violation: a message that
is other than it was, or gone, and nobody was told; and, of a flip in the control file, a message
that is given out other than it was although somebody was told.

Called by: tools.flips, tests.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from postroom.core.clock import ManualClock
from postroom.core.errors import ContentCorrupt, PostroomError, StoreUnavailable
from postroom.core.message import RecipientState, RecipientStatus
from postroom.observe.events import EventList, StoreFailed
from postroom.observe.stream.block import MAGIC
from postroom.spool import fsck
from postroom.spool.embedded.manifest import ManifestQueue, read_manifest
from postroom.spool.embedded.queue_plan import prepare_base
from postroom.spool.embedded.store import EmbeddedStore, open_store
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import QUARANTINE, Selection, Settlement
from tests.contract.store_contract import T0, message, octets_of, queue_id
from tests.crash.owed import View, view_of
from tests.unit.stream.streams import Stream

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
MESSAGES = 14
EVENTS = 60
PARTS = ("segment", "control", "manifest", "identity")


class Spool(msgspec.Struct, frozen=True):
    """A spool at rest: where it is kept, and what is in it."""

    kept: Path
    views: dict[str, View]
    contents: dict[str, bytes]
    queues: tuple[ManifestQueue, ...]


def filled_stream(directory: Path) -> Stream:
    """Return a stream of EVENTS events in several segments."""
    stream = Stream(directory)
    for start in range(0, EVENTS, EVENTS // 4):
        some = [
            StoreFailed(error=f"event {n}", changes=n) for n in range(start, start + EVENTS // 4)
        ]
        stream.write("queue1", *some)
    return stream


class Flips(msgspec.Struct):
    """What came of many flips."""

    outcomes: dict[str, Counter[str]] = {}
    """By part, and there by outcome."""
    violations: list[str] = []

    def add(self, part: str, outcome: str) -> None:
        """Count one."""
        self.outcomes.setdefault(part, Counter())[outcome] += 1


def rows(flips: Flips, seed: int) -> list[tuple[str, str]]:
    """Return what came of it, line by line."""

    def parts(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {number:,}" for name, number in counts.most_common())

    total = sum(counts.total() for counts in flips.outcomes.values())
    lines = [("octets flipped", f"{total:,}, seeds from {seed}")]
    lines += [(f"in the {part}", parts(counts)) for part, counts in sorted(flips.outcomes.items())]
    return [*lines, ("**delivered changed, or gone untold**", f"**{len(flips.violations)}**")]


def flip(seed: int, flips: Flips) -> None:
    """Flip one octet and see what comes of it."""
    dice = random.Random(f"flip {seed}")
    spool = _filled(dice.random() < 0.5)
    part = dice.choice(PARTS)
    base = _as_kept(spool.kept)
    path = dice.choice(_files(base, part))
    octets = bytearray(path.read_bytes())
    place = dice.randrange(len(octets))
    octets[place] ^= dice.choice((1 << dice.randrange(8), dice.randint(1, 255)))
    path.write_bytes(octets)
    where = f"seed {seed}: octet {place} of {path.relative_to(base)}"
    try:
        outcome = asyncio.run(_look(base, spool, where))
        if part == "control" and outcome != "harmless":
            _as_kept(spool.kept)
            path.write_bytes(octets)
            outcome += asyncio.run(_repair(base, spool, where))
    except Violation as violation:
        flips.violations.append(str(violation))
        outcome = "VIOLATION"
    flips.add(part, outcome)


def flip_event(seed: int, stream: Stream, flips: Flips) -> None:
    """Flip one octet of an event stream of EVENTS events, read it, and put the octet back."""
    dice = random.Random(f"event {seed}")
    before = [event.line for event in stream.reader.read(limit=1000).events]
    paths = sorted(stream.directory.rglob("*.events"))
    path = dice.choice(paths)
    octets = path.read_bytes()
    place = dice.randrange(len(octets))
    changed = bytearray(octets)
    changed[place] ^= 1 << dice.randrange(8)
    path.write_bytes(changed)
    try:
        after = [event.line for event in stream.reader.read(limit=1000).events]
    finally:
        path.write_bytes(octets)
    told = [line for line in after if b'"event":"missed"' in line]
    others = [line for line in after if line not in told]
    # The last block of all cannot be told from one that is being written, or was cut short.
    is_end = path == paths[-1] and place >= octets.rfind(MAGIC)
    outcome = "told" if told else "harmless" if others == before else "as a torn end"
    if set(others) - set(before):
        flips.violations.append(f"event seed {seed}: octet {place}: an event is read changed")
    elif len(others) < len(before) and not told and not is_end:
        flips.violations.append(f"event seed {seed}: octet {place}: events are missing, untold")
    flips.add("event stream", outcome)


class Violation(AssertionError):
    """Something changed and nobody was told."""


async def _look(base: Path, spool: Spool, where: str) -> str:
    events = EventList()
    try:
        manifest = prepare_base(policy_of(base))
        store = _opened(base, events)
        found = {one.id: view_of(one) for one in await store.select(Selection(), 0.0, 1000)}
    except PostroomError:
        return "refused"
    if manifest.queues != spool.queues:
        raise Violation(f"{where}: {spool.queues} became {manifest.queues}")
    told = [type(event).__name__ for event in events.events]
    quarantined = []
    for one in spool.views.keys() & found.keys():  # type: ignore[call-overload]
        # That somebody is told is not enough: mail goes nowhere else meanwhile.
        if "/qf/" in where and found[one] != spool.views[one]:
            raise Violation(f"{where}: {one} was {spool.views[one]}, is served as {found[one]}")
    changed = [
        one for one in spool.views.keys() | found.keys() if found.get(one) != spool.views.get(one)
    ]  # type: ignore[call-overload]
    for one in spool.views.keys() & found.keys():
        if await _content(store, one) is None:
            quarantined.append(one)
        elif await _content(store, one) != spool.contents[one]:
            raise Violation(f"{where}: {one} would be delivered changed")
    await store.close()
    findings = fsck.check(base / "queue1")
    named = [one for one in findings if one.kind != "orphan-segment"]
    if quarantined:
        missed = set(quarantined) - {one.about for one in findings}
        if missed and not any(one.kind == "control" for one in findings):
            raise Violation(f"{where}: fsck does not name {missed}")
        return "quarantined"
    if named or told:
        return "told"
    if changed:
        raise Violation(
            f"{where}: {changed[0]} was {spool.views.get(changed[0])}, is {found.get(changed[0])}"
        )  # type: ignore[call-overload]
    return "harmless"


async def _repair(base: Path, spool: Spool, where: str) -> str:
    """Repair a queue whose control file is damaged; say what became of it."""
    findings = fsck.check(base / "queue1", repair=True)
    if any(one.kind == "control" and not one.repaired for one in findings):
        return ", not repaired"
    store = _opened(base, EventList())
    found = {one.id: view_of(one) for one in await store.select(Selection(), 0.0, 1000)}
    told = {one.about for one in findings}
    quarantined = 0
    for one in spool.views.keys() | found.keys():  # type: ignore[call-overload]
        view = found.get(one)
        if view is not None and view.hold.startswith(QUARANTINE) and one in told:
            quarantined += 1
        elif view != spool.views.get(one):
            raise Violation(f"{where}: after a repair {one} is {view}, was {spool.views.get(one)}")
        if view is not None and await _content(store, one) != spool.contents.get(one):
            raise Violation(f"{where}: after a repair {one} has another content")
    await store.close()
    if [one for one in fsck.check(base / "queue1") if one.kind == "control"]:
        raise Violation(f"{where}: a repaired file is damaged")
    return ", repaired with some in quarantine" if quarantined else ", repaired"


async def _content(store: EmbeddedStore, one: str) -> bytes | None:
    try:
        return await octets_of(store, one)  # type: ignore[arg-type]
    except (ContentCorrupt, StoreUnavailable):
        return None


def policy_of(base: Path) -> SpoolPolicy:
    """Return what a base is made and opened with."""
    return SpoolPolicy(base=str(base), count=1, reserve_octets=0, segment_octets=6000)


def _opened(base: Path, events: EventList) -> EmbeddedStore:
    policy, queue = policy_of(base), base / "queue1"
    return open_store(queue, policy, events=events, clock=ManualClock(), inline=True)


@functools.cache
def _filled(stopped: bool) -> Spool:
    directory = Path(tempfile.mkdtemp(prefix="pr-flips-", dir=IN_MEMORY))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    base, kept = directory / "spool", directory / "kept"
    views: dict[str, View] = {}
    contents: dict[str, bytes] = {}

    async def fill() -> None:
        prepare_base(policy_of(base))
        store = _opened(base, EventList())
        for number in range(MESSAGES):
            content = random.Random(number).randbytes(100 + 90 * number)
            await store.put(message(number, "a@x.example", "b@y.example", content=content))
        later = RecipientStatus(0, attempts=1, due_at=T0 + 60, reply="451 later", host="h")
        done = RecipientStatus(1, RecipientState.DELIVERED, attempts=1, reply="250", host="h")
        await store.settle(Settlement(queue_id(3), (later,)))
        await store.settle(Settlement(queue_id(4), (done,)))
        if not stopped:
            # As a kill leaves it: before anything is put in order.
            shutil.copytree(base, kept)
        await store.close()
        if stopped:
            shutil.copytree(base, kept)

    async def look(at: Path) -> None:
        store = _opened(at, EventList())
        for one in await store.select(Selection(), 0.0, 1000):
            views[one.id] = view_of(one)
            contents[one.id] = await octets_of(store, one.id)
        await store.close()

    asyncio.run(fill())
    asyncio.run(look(_as_kept(kept)))
    manifest = read_manifest(kept)
    assert manifest is not None
    return Spool(kept, views, contents, manifest.queues)


def _as_kept(kept: Path) -> Path:
    """Make a base what it was when it was kept, where it was: the manifest names its place."""
    base = kept.with_name("spool")
    shutil.rmtree(base)
    return Path(shutil.copytree(kept, base))


def _files(base: Path, part: str) -> list[Path]:
    queue = base / "queue1"
    match part:
        case "segment":
            found = (queue / "df").glob("*.seg")
        case "control":
            found = (
                one for ending in ("db", "db-wal") for one in (queue / "qf").glob(f"*.{ending}")
            )
        case "manifest":
            found = base.glob("manifest.json")
        case _:
            found = queue.rglob("identity")
    return sorted(one for one in found if one.stat().st_size)
