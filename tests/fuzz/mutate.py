"""Small changes of octets, by a seed: the short run of `make test`, and a search without atheris.

Pure: the same seed and inputs give the same changes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_ODD = (
    b"\x00",
    b"\xff",
    b"\r",
    b"\n",
    b"\r\n",
    b"\x7f",
    b"\x80",
    b"\xc3",
    b"\xed\xa0\x80",
    b"9" * 20,
)


def mutations(
    inputs: Sequence[bytes], words: Sequence[bytes], octets_max: int, seed: int
) -> Iterator[bytes]:
    """Give changed inputs, without end."""
    chance = random.Random(seed)
    inputs = inputs or (b"",)
    pool = [*_ODD, *words]
    while True:
        octets = bytearray(chance.choice(inputs))
        for _ in range(1 + chance.randrange(4)):
            _change(octets, inputs, pool, chance)
        yield bytes(octets[:octets_max])


def _change(
    octets: bytearray, inputs: Sequence[bytes], pool: Sequence[bytes], chance: random.Random
) -> None:
    at = chance.randrange(len(octets) + 1)
    end = min(len(octets), at + 1 + chance.randrange(8))
    match chance.randrange(8):
        case 0:
            del octets[at:end]
        case 1 if at < len(octets):
            octets[at] ^= 1 << chance.randrange(8)
        case 2 if at < len(octets):
            octets[at] = chance.randrange(256)
        case 3:
            octets[at:at] = chance.choice(pool)
        case 4:
            octets[at:end] = chance.choice(pool)
        case 5:
            octets[at:at] = octets[at:end] * (1 + chance.randrange(4))
        case 6:
            other = chance.choice(inputs)
            begin = chance.randrange(len(other) + 1)
            octets[at:at] = other[begin : begin + 1 + chance.randrange(64)]
        case _:
            octets[at:at] = bytes((chance.randrange(256),))
