"""Octets flipped in a spool at rest are noticed; no content is ever given away changed.

More: `make flips FLIPS=5000`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.observe.events import EventList, JournalDamaged
from postroom.spool import fsck
from postroom.spool.embedded.queue_plan import prepare_base
from postroom.spool.embedded.store import open_store
from postroom.spool.errors import QueueUnusable
from postroom.spool.queue_state import QueueState
from postroom.spool.store import Selection
from tests.contract.store_contract import message
from tests.crash.flips import Flips, filled_stream, flip, flip_event, policy_of, rows
from tests.sim.disk import SimulatedDisk
from tests.sim.loop import run

# SQLite, closing a damaged file, can tell nobody about it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
FLIPS = 150
BASE = Path("/srv/spool")
QUEUE = BASE / "queue1"
POLICY = policy_of(BASE)


def test_no_flipped_octet_changes_what_is_delivered_or_takes_mail_untold(tmp_path: Path) -> None:
    flips = Flips()
    stream = filled_stream(tmp_path)
    for seed in range(1, FLIPS + 1):
        flip(seed, flips)
        flip_event(seed, stream, flips)
    assert flips.violations == [], rows(flips, 1)
    outcomes = flips.outcomes
    assert outcomes["segment"]["quarantined"] and outcomes["segment"]["told"]
    assert outcomes["manifest"]["refused"]
    assert outcomes["control"]["refused, repaired"] and outcomes["control"]["told, repaired"]
    assert outcomes["control"]["refused, repaired with some in quarantine"]
    assert outcomes["event stream"]["told"]


def test_a_journal_record_that_is_damaged_is_told_kept_and_named_by_fsck() -> None:
    disk = SimulatedDisk()

    async def fill() -> None:
        prepare_base(POLICY, disk)
        store = open_store(
            QUEUE, POLICY, events=EventList(), clock=ManualClock(), disk=disk, inline=True
        )
        for number in range(3):
            await store.put(message(number))

    run(fill())
    disk.restart()
    segment = disk.inode(QUEUE / "df" / "00000001.seg")
    middle = segment.seen.find(b'[{"type":"put"', segment.seen.find(b'[{"type":"put"') + 1)
    segment.seen[middle + 40] ^= 1
    [finding] = fsck.check(QUEUE, disk=disk)
    assert finding.kind == "journal" and finding.about == "00000001.seg"

    async def look() -> None:
        events = EventList()
        store = open_store(
            QUEUE, POLICY, events=events, clock=ManualClock(), disk=disk, inline=True
        )
        assert len(await store.select(Selection(), 0.0, 10)) == 2, "the others are served"
        [told] = [event for event in events.events if isinstance(event, JournalDamaged)]
        assert (told.segment, told.torn, told.kept) == (1, False, "00000001.seg.damaged")
        await store.close()

    run(look())
    [finding] = [one for one in fsck.check(QUEUE, disk=disk) if one.kind == "journal"]
    assert finding.about == "00000001.seg.damaged"
    assert bytes(disk.inode(QUEUE / "df" / finding.about).seen[middle : middle + 9])


def test_a_manifest_whose_octets_changed_is_refused_and_says_how_to_mend_it() -> None:
    disk = SimulatedDisk()
    prepare_base(POLICY, disk)
    manifest = disk.inode(BASE / "manifest.json")
    manifest.seen[:] = manifest.seen.replace(b'"enabled"', b'"held"')
    with pytest.raises(QueueUnusable, match=r"manifest\.json is damaged: its checksum is wrong"):
        prepare_base(POLICY, disk)
    text = bytes(manifest.seen)
    manifest.seen[:] = text[: text.index(b',\n  "crc32"')] + b"\n}\n"
    [queue] = prepare_base(POLICY, disk).queues
    assert queue.state is QueueState.HELD, "changed on purpose"
