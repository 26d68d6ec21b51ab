"""Combinations of the five extensions that two hosts may or may not share."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping

EXTENSIONS = ("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "STARTTLS")
DOMAIN = "interop.example"


class Can(enum.Enum):
    """What a peer permits of one extension."""

    SWITCHED = "on and off"
    ALWAYS = "always"
    NEVER = "never"


Abilities = Mapping[str, Can]
"""By extension."""


class Combination(frozenset[str]):
    """The extensions that are on."""

    @property
    def number(self) -> int:
        """From 0 (none) to 31 (all)."""
        return sum(1 << place for place, name in enumerate(EXTENSIONS) if name in self)

    @property
    def name(self) -> str:
        """A word for hosts, routes and services: c00 to c31."""
        return f"c{self.number:02}"

    @property
    def domain(self) -> str:
        """Mail for this domain meets this combination."""
        return f"{self.name}.{DOMAIN}"

    def __str__(self) -> str:
        return "+".join(name for name in EXTENSIONS if name in self) or "none"


def combinations_of(abilities: Abilities) -> list[Combination]:
    """Return all combinations that a peer permits: 32 where it can switch each of the five."""
    choices = {
        Can.SWITCHED: (False, True),
        Can.ALWAYS: (True,),
        Can.NEVER: (False,),
    }
    rows = itertools.product(*[choices[abilities[name]] for name in EXTENSIONS])
    return [
        Combination(name for name, is_on in zip(EXTENSIONS, row, strict=True) if is_on)
        for row in rows
    ]
