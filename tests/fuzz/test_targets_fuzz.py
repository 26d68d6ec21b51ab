"""A short run of each fuzz target: its kept inputs, and as many small changes of them.

The changes are the same each time, so that a red run says something of the change at hand. The
long search is `make fuzz`.
"""

from __future__ import annotations

import time

import pytest

from tests.fuzz import corpus_files
from tests.fuzz.mutate import mutations
from tests.fuzz.target import load, names

INPUTS_MAX = 400
SECONDS_MAX = 1.0
"""Of one target; a busy machine tries fewer inputs."""


@pytest.mark.parametrize("name", names())
def test_what_is_kept_and_small_changes_of_it_hold(name: str) -> None:
    target = load(name)
    kept = corpus_files.kept(target)
    for octets in kept:
        target.try_one(octets)
    until = time.monotonic() + SECONDS_MAX
    changed = mutations(kept, target.words, target.octets_max, seed=1)
    for _, octets in zip(range(INPUTS_MAX), changed, strict=False):
        try:
            target.try_one(octets)
        except Exception as error:
            raise AssertionError(f"{name}: {octets!r}") from error
        if time.monotonic() > until:
            break


@pytest.mark.parametrize("name", names())
def test_the_corpus_is_small(name: str) -> None:
    directory = corpus_files.KEPT / name
    files = list(directory.iterdir()) if directory.is_dir() else []
    assert len(files) <= corpus_files.FILES_MAX
    assert all(one.stat().st_size <= corpus_files.OCTETS_MAX for one in files)


def test_the_corpus_is_of_targets_that_there_are() -> None:
    assert {one.name for one in corpus_files.KEPT.iterdir()} <= set(names())


def test_changes_are_the_same_for_one_seed() -> None:
    first, second = (mutations([b"abc", b"de"], [b"x"], 20, 7) for _ in range(2))
    assert [next(first) for _ in range(50)] == [next(second) for _ in range(50)]
