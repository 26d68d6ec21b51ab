"""Pages of a control file that are not what was written are no rows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.core.errors import StoreUnavailable
from postroom.observe.events import EventList, StoreFailed
from postroom.spool import fsck
from postroom.spool.embedded import checksums, layout, schema
from postroom.spool.embedded.queue_plan import prepare_base
from postroom.spool.embedded.store import open_store
from postroom.spool.errors import QueueUnusable
from tests.contract.store_contract import message, queue_id
from tests.unit.spool.test_opening import opened, policy_of

needs_checksums = pytest.mark.skipif(
    not checksums.verifying_vfs(),
    reason="this build of apsw has no cksumvfs: its wheels for Linux have it",
)
ADDRESS = b"someone.rare@far.example"


def fill(base: Path) -> Path:
    async def main() -> None:
        prepare_base(policy_of(base))
        store = opened(base)
        await asyncio.gather(
            store.put(message(1, ADDRESS.decode())), store.put(message(2, "b@b.example"))
        )
        await store.close()

    asyncio.run(main())
    return base / "queue1" / "qf" / "queue.db"


def change_address(control: Path) -> None:
    octets = control.read_bytes()
    assert octets.count(ADDRESS) == 1
    control.write_bytes(octets.replace(ADDRESS, ADDRESS.replace(b"rare", b"dare")))


def addresses(base: Path, events: EventList | None = None) -> list[str]:
    async def main() -> list[str]:
        store = open_store(
            base / "queue1", policy_of(base), events=events or EventList(), clock=ManualClock()
        )
        try:
            found, _ = await store.due(2e9, 10)
        finally:
            await store.close()
        return sorted(one.address for stored in found for one in stored.envelope.recipients)

    return asyncio.run(main())


@needs_checksums
def test_an_address_that_became_another_is_not_read(tmp_path: Path) -> None:
    control = fill(tmp_path)
    change_address(control)
    events = EventList()
    with pytest.raises(StoreUnavailable):
        addresses(tmp_path, events)
    [told] = events.events
    assert isinstance(told, StoreFailed) and "a page is not what was written" in told.error
    [finding] = fsck.check(tmp_path / "queue1")
    assert (finding.kind, finding.about) == ("control", str(control)) and not finding.repaired


@needs_checksums
def test_a_repair_holds_what_a_damaged_page_tells_of_and_keeps_the_file_as_it_was(
    tmp_path: Path,
) -> None:
    control = fill(tmp_path)
    change_address(control)
    damaged = control.read_bytes()
    findings = fsck.check(tmp_path / "queue1", repair=True)
    assert all(one.repaired for one in findings)
    assert {one.about for one in findings} >= {str(control), queue_id(1), queue_id(2)}
    assert addresses(tmp_path) == [], "it waits for an operator"
    assert fsck.check(tmp_path / "queue1") == []
    assert control.with_name("queue.db.damaged").read_bytes() == damaged
    assert control.with_name("queue.db.damaged").stat().st_mode & 0o77 == 0


@needs_checksums
def test_where_checksums_cannot_be_kept_a_file_with_some_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    monkeypatch.setattr(schema, "verifying_vfs", lambda: "")
    with pytest.raises(QueueUnusable, match="install apsw as a wheel"):
        addresses(tmp_path)


def test_a_file_that_was_made_without_checksums_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        for module in (schema, layout):
            without.setattr(module, "verifying_vfs", lambda: "")
        control = fill(tmp_path)
    assert addresses(tmp_path) == ["b@b.example", ADDRESS.decode()]
    change_address(control)
    # Which is what checksums are for.
    assert addresses(tmp_path) == ["b@b.example", "someone.dare@far.example"]
