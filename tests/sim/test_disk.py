"""What the simulated disk does about processes and mounts is what Linux does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.disk import SimulatedDisk
from tests.sim.stranger import Stranger

QUEUE = Path("/sim/queue1")


def machine() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_directory(QUEUE)
    return disk


def test_a_lock_is_held_against_everybody_until_its_file_is_closed() -> None:
    disk = machine()
    one, two = disk.mounted(), disk.mounted()
    held = one.lock(QUEUE / "lock")
    assert held is not None
    assert two.lock(QUEUE / "lock") is None
    assert one.lock(QUEUE / "lock") is None
    held.close()
    assert two.lock(QUEUE / "lock") is not None


def test_a_lock_ends_with_its_process_alone() -> None:
    disk = machine()
    one, two = disk.mounted(), disk.mounted()
    assert one.lock(QUEUE / "lock") is not None
    two.end()
    assert disk.mounted().lock(QUEUE / "lock") is None
    one.end()
    assert disk.mounted().lock(QUEUE / "lock") is not None
    disk.restart()
    assert disk.mounted().lock(QUEUE / "lock") is not None


def test_a_lock_is_on_the_file_and_not_on_its_name() -> None:
    disk = machine()
    one = disk.mounted()
    assert one.lock(QUEUE / "lock") is not None
    disk.unlink(QUEUE / "lock")
    assert disk.mounted().lock(QUEUE / "lock") is not None


@pytest.mark.parametrize("power", [False, True])
def test_an_open_file_stays_that_of_the_missing_disk(power: bool) -> None:
    disk = machine()
    file = disk.create(QUEUE / "file")
    disk.sync_directory(QUEUE)
    stranger = Stranger(QUEUE, QUEUE, is_queue=False)
    disk.unmount(QUEUE, stranger.directories)
    assert not disk.exists(QUEUE / "file")
    file.append_durably([b"octets"])
    if power:
        disk.reboot()
    assert disk.remount() == {"/", "/sim", "/sim/queue1"}
    assert stranger.changes == []
    assert disk.open(QUEUE / "file").read_at(0, 10) == b"octets"


def test_every_change_to_what_lies_there_is_known() -> None:
    disk = machine()
    stranger = Stranger(QUEUE, QUEUE, is_queue=True)
    disk.unmount(QUEUE, stranger.directories)
    assert disk.exists(QUEUE / "df" / "00000001.seg")
    disk.create(QUEUE / "new")
    disk.unlink(QUEUE / "df" / "00000001.seg")
    disk.rewrite(QUEUE / "qf" / "queue.db-wal")
    assert stranger.changes == [
        f"make {QUEUE}/new",
        f"remove {QUEUE}/df/00000001.seg",
        f"write {QUEUE}/qf/queue.db-wal",
    ]
