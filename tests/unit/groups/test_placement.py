"""A group's mail goes to its queues as the placement says, and always to one that can take it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.groups.placement import Candidate, Placement, by_hash, is_clearly_busier
from postroom.groups.policy import PLACEMENTS, GroupPolicy

MESSAGES = 10_000
CANDIDATES = st.lists(
    st.builds(Candidate, st.integers(1, 20), st.integers(0, 3_000_000)),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one.queue,
)


def placement(kind: str, weights: tuple[int, ...] = ()) -> Placement:
    queues = tuple(range(1, len(weights) + 1))
    return Placement(GroupPolicy("g", queues, kind, weights), random.Random(1))


def spread(chosen: Placement, candidates: list[Candidate], own: int = 1) -> Counter[int]:
    return Counter(chosen.choose(candidates, own, f"s{n}@x.example") for n in range(MESSAGES))


@given(st.sampled_from(PLACEMENTS), CANDIDATES, st.integers(1, 20), st.text(max_size=20))
def test_where_there_is_a_candidate_one_of_them_is_chosen(
    kind: str, candidates: list[Candidate], own: int, key: str
) -> None:
    assert placement(kind).choose(candidates, own, key) in {one.queue for one in candidates}


@pytest.mark.seed(12)
def test_round_robin_differs_by_one_at_most() -> None:
    found = spread(placement("round-robin"), [Candidate(4), Candidate(1), Candidate(3)])
    assert set(found) == {1, 3, 4} and max(found.values()) - min(found.values()) <= 1


@pytest.mark.seed(12)
def test_weights_are_kept_to_within_two_percent() -> None:
    found = spread(placement("weighted", (70, 20, 10)), [Candidate(1), Candidate(2), Candidate(3)])
    for queue, share in ((1, 0.7), (2, 0.2), (3, 0.1)):
        assert abs(found[queue] / MESSAGES - share) < 0.02


@pytest.mark.seed(12)
def test_by_chance_every_queue_has_its_part() -> None:
    found = spread(placement("random"), [Candidate(1), Candidate(2), Candidate(3)])
    assert all(abs(found[queue] / MESSAGES - 1 / 3) < 0.02 for queue in (1, 2, 3))


@pytest.mark.seed(12)
@given(st.sets(st.integers(1, 64), min_size=2, max_size=8), st.text(max_size=20))
def test_by_hash_a_key_stays_where_it_is_unless_its_queue_goes(queues: set[int], key: str) -> None:
    candidates = [Candidate(queue) for queue in sorted(queues)]
    home = by_hash(candidates, key)
    for gone in candidates:
        if gone.queue != home:
            left = [one for one in candidates if one != gone]
            assert by_hash(left, key) == home
    random.Random(1).shuffle(candidates)
    assert by_hash(candidates, key) == home


@pytest.mark.seed(45)
@given(
    st.dictionaries(st.integers(1, 1000), st.integers(1, 1000), min_size=1, max_size=64),
    st.text(max_size=20),
    st.randoms(use_true_random=False),
)
def test_a_key_belongs_to_one_queue_of_any_number_of_any_weights_whoever_asks(
    weights: dict[int, int], key: str, chance: random.Random
) -> None:
    """0 gaps, 0 overlaps: every worker, whatever it sees first, finds the same one queue."""
    group = GroupPolicy("g", tuple(weights), "hash", tuple(weights.values()))
    candidates = [Candidate(queue, chance.randrange(10**6)) for queue in weights]
    owners = set()
    for own in weights:
        chance.shuffle(candidates)
        owners.add(Placement(group, chance).choose(candidates, own, key))
    assert len(owners) == 1 and owners <= set(weights)
    # The part of one that is dead is taken over by others, and nothing else moves.
    [home] = owners
    for gone in weights:
        left = [one for one in candidates if one.queue != gone]
        if left and gone != home:
            assert Placement(group, chance).choose(left, own, key) == home
        elif left:
            assert Placement(group, chance).choose(left, own, key) != home


@pytest.mark.seed(45)
@pytest.mark.parametrize("weights", [(1, 1, 1), (70, 20, 10), (1, 999), (3, 5, 7, 11, 13)])
def test_hashing_gives_each_queue_as_many_senders_as_its_weight_says(
    weights: tuple[int, ...],
) -> None:
    queues = tuple(range(1, len(weights) + 1))
    hashed = Placement(GroupPolicy("g", queues, "hash", weights), random.Random(1))
    found = spread(hashed, [Candidate(queue) for queue in queues])
    assert sum(found.values()) == MESSAGES
    for queue, weight in zip(queues, weights, strict=True):
        assert abs(found[queue] / MESSAGES - weight / sum(weights)) < 0.015


@pytest.mark.seed(12)
def test_hashing_spreads_senders_evenly() -> None:
    found = spread(placement("hash"), [Candidate(1), Candidate(2), Candidate(3), Candidate(4)])
    assert all(abs(found[queue] / MESSAGES - 1 / 4) < 0.02 for queue in (1, 2, 3, 4))


@pytest.mark.seed(12)
@given(CANDIDATES)
def test_the_least_loaded_stays_at_home_unless_home_is_clearly_busier(
    candidates: list[Candidate],
) -> None:
    own = candidates[0]
    least = min(one.load_ppm for one in candidates)
    chosen = placement("least-loaded").choose(candidates, own.queue, "")
    if is_clearly_busier(own.load_ppm, least):
        loads = {one.queue: one.load_ppm for one in candidates}
        assert chosen != own.queue and not is_clearly_busier(loads[chosen], least)
    else:
        assert chosen == own.queue
    assert placement("least-loaded").stays(candidates, own.queue) == (chosen == own.queue)


def test_a_queue_that_is_less_than_half_busy_keeps_its_mail() -> None:
    """What it starts at once would go no faster elsewhere, and the way there costs."""
    idle = [Candidate(2), Candidate(3)]
    least_loaded = placement("least-loaded")
    assert set(spread(least_loaded, [Candidate(1, 500_000), *idle])) == {1}
    assert set(spread(least_loaded, [Candidate(1, 500_001), *idle])) == {2, 3}


@pytest.mark.seed(13)
def test_a_queue_at_four_fifths_of_its_load_gets_next_to_nothing_beside_idle_ones() -> None:
    candidates = [Candidate(1, 800_000), Candidate(2), Candidate(3), Candidate(4)]
    found = Counter(
        placement.choose(candidates, own, "")
        for own in (1, 2, 3, 4)
        for placement in [Placement(GroupPolicy(), random.Random(own))]
        for _ in range(25)
    )
    assert found[1] <= 2 and sum(found.values()) == 100
