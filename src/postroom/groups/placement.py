"""Which of a group's queues takes a message.

Pure: candidates and entropy are passed in. What is a candidate, who looks decides: a queue
that takes mail, was heard of lately and has room.

    least-loaded   the own queue, unless it is more than half busy and another clearly less;
                   then one of the less busy, by chance
    round-robin    one after the other
    random         any, by chance
    weighted       by chance, as often as its weight says
    hash           by the reverse-path, so that the mail of one sender stays together while the
                   same queues can take it, as often as its weight says (rendezvous hashing:
                   Thaler and Ravishankar 1998; weights: Schindelhauer and Schomaker 2005)

Guarantees: 1. a candidate is chosen wherever there is one.  2. hash: where a queue comes or
goes, only what is its own moves; a key belongs to one queue, whoever asks: there are no slices
with bounds between which something could be nobody's, or two queues'.
Called by: engine.distributor.  Raises: nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from postroom.groups.policy import GroupPolicy

CLEARLY_PPM = 100_000
"""A load that is higher by this much, and a quarter, is a reason to hand a message over."""


BUSY_PPM = 500_000
"""A queue that is less than half busy starts all that comes to it: elsewhere it goes no faster."""


class Candidate(msgspec.Struct, frozen=True):
    """A queue that can take a message: its number and its load in parts per million."""

    queue: int
    load_ppm: int = 0


def is_clearly_busier(own_ppm: int, other_ppm: int) -> bool:
    """Say whether a queue is so much busier than another that the way there pays."""
    return own_ppm > max(BUSY_PPM, other_ppm + max(CLEARLY_PPM, other_ppm // 4))


class Placement:
    """Chooses for one group; keeps whose turn it is."""

    __slots__ = ("_entropy", "_group", "_last", "_weights")

    def __init__(self, group: GroupPolicy, entropy: random.Random) -> None:
        self._group = group
        self._entropy = entropy
        self._last = 0
        self._weights = dict(zip(group.queues, group.weights, strict=False))

    def choose(self, candidates: Sequence[Candidate], own: int, key: str) -> int:
        """Return the number of a queue; there must be a candidate.

        `own` is the queue that asks, `key` what hash goes by.
        """
        assert candidates
        match self._group.placement:
            case "round-robin":
                return self._next(candidates)
            case "random":
                return self._entropy.choice(candidates).queue
            case "weighted":
                weights = [self._weights.get(one.queue, 1) for one in candidates]
                return self._entropy.choices(candidates, weights)[0].queue
            case "hash":
                return by_hash(candidates, key, self._weights)
            case _:
                return self._least_loaded(candidates, own)

    def stays(self, candidates: Sequence[Candidate], own: int) -> bool:
        """Say whether every message stays in the own queue, as candidates are now."""
        if self._group.placement != "least-loaded":
            return len(candidates) == 1 and candidates[0].queue == own
        return bool(candidates) and self._least_loaded(candidates, own) == own

    def _next(self, candidates: Sequence[Candidate]) -> int:
        numbers = sorted(one.queue for one in candidates)
        self._last = next((one for one in numbers if one > self._last), numbers[0])
        return self._last

    def _least_loaded(self, candidates: Sequence[Candidate], own: int) -> int:
        least = min(one.load_ppm for one in candidates)
        for one in candidates:
            if one.queue == own and not is_clearly_busier(one.load_ppm, least):
                return own
        near = [one.queue for one in candidates if not is_clearly_busier(one.load_ppm, least)]
        return self._entropy.choice(near)


def by_hash(
    candidates: Sequence[Candidate], key: str, weights: Mapping[int, int] | None = None
) -> int:
    """Return the queue that a key belongs to among these; the weight of a queue is 1 unless given.

    Each queue draws a number from 0 to 1 for the key, and -weight / ln(number) is highest.
    """
    octets = key.lower().encode("utf-8", "surrogateescape")

    def score(one: Candidate) -> tuple[float, int]:
        drawn = blake2b(octets, digest_size=8, key=str(one.queue).encode()).digest()
        share = (int.from_bytes(drawn, "big") + 0.5) / 2.0**64
        weight = weights.get(one.queue, 1) if weights else 1
        # At the very end a float is 1: nothing draws better.
        return -weight / math.log(share) if share < 1.0 else math.inf, one.queue

    return max(candidates, key=score).queue
