"""Which queues there are: explicit directories, copies, moves, crashes and mistakes."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.layout import unsafe_component
from postroom.spool.embedded.manifest import (
    RETIRED_MAX,
    Manifest,
    read_manifest,
    remove_queue,
    set_state,
    write_manifest,
)
from postroom.spool.embedded.queue_plan import add_queue, adopt_queue, configured, prepare_base
from postroom.spool.errors import QueueUnusable
from postroom.spool.policy import SpoolPolicy
from postroom.spool.queue_state import QueueState


def policy_of(base: Path, *directories: object, count: int = 2) -> SpoolPolicy:
    return SpoolPolicy(
        base=str(base / "base"), count=count, directories=tuple(map(str, directories)),
        reserve_octets=0,
    )  # fmt: skip


def disks(base: Path, *names: str) -> list[Path]:
    made = [base / "disks" / name for name in names]
    for path in made:
        path.mkdir(mode=0o700, parents=True)
    return made


def places(manifest: Manifest) -> dict[int, str]:
    return {queue.number: Path(queue.directory).name for queue in manifest.queues}


def test_a_copy_never_takes_the_place_of_its_original(tmp_path: Path) -> None:
    first, _ = disks(tmp_path, "q.1", "q.2")
    policy = policy_of(tmp_path, tmp_path / "disks" / "q.*")
    before = prepare_base(policy)
    shutil.copytree(first, first.with_name("q.1.old"))
    skipped: list[str] = []
    assert prepare_base(policy, skipped=skipped) == before
    assert len(skipped) == 1 and "q.1.old is a copy of queue1" in skipped[0]
    with pytest.raises(QueueUnusable, match="copy of queue1"):
        prepare_base(policy_of(tmp_path, first.with_name("q.1.old")))


def test_what_lies_inside_a_queue_is_no_queue(tmp_path: Path) -> None:
    disks(tmp_path, "q1", "q2")
    base = tmp_path / "disks"
    before = prepare_base(policy_of(tmp_path, base / "q*"))
    skipped: list[str] = []
    again = prepare_base(policy_of(tmp_path, base / "q*", base / "*" / "df"), skipped=skipped)
    assert (again, skipped) == (before, [])


def test_a_start_that_fails_half_way_is_made_good_by_the_next(tmp_path: Path) -> None:
    [first] = disks(tmp_path, "a")
    policy = policy_of(tmp_path, first, first.with_name("b"))
    with pytest.raises(QueueUnusable, match="make it first"):
        prepare_base(policy)
    disks(tmp_path, "b")
    assert places(prepare_base(policy)) == {1: "a", 2: "b"}


def test_a_queue_that_was_decided_on_and_not_made_is_completed(tmp_path: Path) -> None:
    first, second = disks(tmp_path, "a", "b")
    policy = policy_of(tmp_path, first, second)
    before = prepare_base(policy)
    # As a crash leaves it: decided, begun, and without its identity.
    decided = msgspec.structs.replace(before.queues[1], made=False)
    (second / "identity").unlink()
    write_manifest(Path(policy.base), Manifest(9, (before.queues[0], decided)))
    after = prepare_base(policy)
    assert after.queues == before.queues
    assert (second / "identity").read_text().strip() == before.queues[1].identity


def test_one_directory_that_fails_keeps_no_start_back(tmp_path: Path) -> None:
    first, _ = disks(tmp_path, "q.1", "q.2")
    policy = policy_of(tmp_path, tmp_path / "disks" / "q.*")
    before = prepare_base(policy)
    (first / "identity").write_text("")
    assert prepare_base(policy) == before
    assert configured(policy, before) == {1, 2}
    shutil.rmtree(first)
    assert prepare_base(policy) == before, "missing, and not forgotten"
    assert configured(policy, before) == {1, 2}, "it takes mail again once it is back"
    shutil.rmtree(first.parent)
    assert prepare_base(policy) == before


def test_a_retired_queue_does_not_keep_the_next_start_back(tmp_path: Path) -> None:
    disks(tmp_path, "q.1")
    policy = policy_of(tmp_path, tmp_path / "disks" / "q.*")
    prepare_base(policy)
    [second] = disks(tmp_path, "q.2")
    queue = add_queue(policy, str(second))
    assert queue.number == 2 and queue.added and queue.made
    remove_queue(Path(policy.base), 2)
    skipped: list[str] = []
    assert places(prepare_base(policy, skipped=skipped)) == {1: "q.1"}
    assert "was retired" in skipped[0]


def test_lost_and_found_and_hidden_directories_are_not_meant(tmp_path: Path) -> None:
    disks(tmp_path, "q1", "lost+found", ".snapshot")
    skipped: list[str] = []
    policy = policy_of(tmp_path, tmp_path / "disks" / "*")
    assert places(prepare_base(policy, skipped=skipped)) == {1: "q1"}
    assert skipped == []


def test_queues_move_with_their_disk_and_the_same_place_is_one_queue(tmp_path: Path) -> None:
    [first] = disks(tmp_path, "mnt1")
    link = tmp_path / "disks" / "link"
    link.symlink_to(first)
    before = prepare_base(policy_of(tmp_path, link))
    assert prepare_base(policy_of(tmp_path, first)) == before
    first.rename(first.with_name("mnt2"))
    moved = prepare_base(policy_of(tmp_path, first.with_name("mnt2")))
    assert places(moved) == {1: "mnt2"} and moved.queues[0].identity == before.queues[0].identity


def test_numbered_queues_are_made_around_those_that_lie_elsewhere(tmp_path: Path) -> None:
    first, second = disks(tmp_path, "a", "b")
    prepare_base(policy_of(tmp_path, first, second))
    policy = policy_of(tmp_path, count=2)
    manifest = prepare_base(policy)
    assert places(manifest) == {1: "a", 2: "b", 3: "queue3", 4: "queue4"}
    assert configured(policy, manifest) == {3, 4}, "the others only drain"


def test_what_another_user_owns_is_not_used(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away: run this as root to try it")
    [first] = disks(tmp_path, "a")
    assert unsafe_component(first) is None
    os.chown(first, 12345, -1)
    assert unsafe_component(first) == first
    os.chown(first, 0, -1)
    way = tmp_path / "way"
    way.mkdir()
    way.chmod(0o777)
    (way / "link").symlink_to(first)
    assert unsafe_component(way / "link") == way
    assert read_manifest(tmp_path / "base") is None


class FullDisk(RealDisk):
    """A disk on which no queue can be completed, while `is_full`."""

    is_full = True

    def sync_directory(self, path: Path) -> None:
        if self.is_full and path.name == "qf":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        super().sync_directory(path)


@pytest.mark.seed(51)
def test_growth_that_fails_again_and_again_leaves_one_queue_to_complete(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, count=1)
    prepare_base(policy)
    disk = FullDisk()
    for _ in range(5):
        with pytest.raises(OSError, match="No space left"):
            add_queue(policy, disk=disk, is_grown=True)
    manifest = read_manifest(Path(policy.base))
    assert manifest is not None and places(manifest) == {1: "queue1", 2: "queue2"}
    disk.is_full = False
    made = add_queue(policy, disk=disk, is_grown=True)
    assert (made.number, made.made, made.is_grown) == (2, True, True)
    assert add_queue(policy, is_grown=True).number == 3


@pytest.mark.seed(51)
def test_a_control_file_that_cannot_be_made_is_an_error_of_the_disk(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, count=1)
    prepare_base(policy)
    disk = FullDisk()
    with pytest.raises(OSError, match="No space left"):
        add_queue(policy, disk=disk, is_grown=True)
    disk.is_full = False
    (Path(policy.base) / "queue2" / "qf" / "queue.db").write_bytes(b"x" * 4096)
    with pytest.raises(OSError, match=r"queue\.db"):
        add_queue(policy, disk=disk, is_grown=True)


@pytest.mark.seed(50)
@pytest.mark.parametrize("state", [QueueState.ENABLED, QueueState.DRAINING])
def test_what_growth_made_and_the_configuration_asks_for_by_now_stays(
    tmp_path: Path, state: QueueState
) -> None:
    policy = policy_of(tmp_path, count=1)
    prepare_base(policy)
    for _ in range(2):
        add_queue(policy, is_grown=True)
    set_state(Path(policy.base), 2, state, by_growth=True)
    more = policy_of(tmp_path, count=2)
    claimed = {queue.number: queue for queue in prepare_base(more).queues}
    assert (claimed[2].is_grown, claimed[2].state) == (False, QueueState.ENABLED)
    assert claimed[3].is_grown
    manifest = prepare_base(policy)
    assert configured(policy, manifest) == {1, 3}, "asked for no more, it only drains"


@pytest.mark.seed(50)
def test_it_is_kept_which_queues_were_retired_until_they_are_adopted_again(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, count=1)
    prepare_base(policy)
    base = Path(policy.base)
    gone = [add_queue(policy, is_grown=True) for _ in range(2)]
    for queue in gone:
        remove_queue(base, queue.number)
    set_state(base, 1, QueueState.HELD)
    manifest = prepare_base(policy)
    assert manifest.retired == tuple(queue.identity for queue in gone)
    adopt_queue(policy, gone[0].directory)
    kept = read_manifest(base)
    assert kept is not None and kept.retired == (gone[1].identity,)
    full = msgspec.structs.replace(kept, retired=tuple(map(str, range(RETIRED_MAX * 2))))
    assert full.changed(full.queues).retired == full.retired[-RETIRED_MAX:]
