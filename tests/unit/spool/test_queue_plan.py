"""Which queues there are: explicit directories, copies, moves, crashes and mistakes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from postroom.spool.embedded.layout import unsafe_component
from postroom.spool.embedded.manifest import Manifest, read_manifest, remove_queue, write_manifest
from postroom.spool.embedded.queue_plan import add_queue, configured, prepare_base
from postroom.spool.errors import QueueUnusable
from postroom.spool.policy import SpoolPolicy


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
