"""What tokens an attempt needs along with that of one limit.

A token of one limit is of no use alone where an attempt needs tokens of others: lent one by one
they would lapse waiting for each other. So they are lent together, or not at all. Where the
attempt may go in several ways (from one source or another, mail of one tenant or another) it
needs what one of these ways needs, and whoever lends knows which of them has it.

Values only.  Called by: shaping.ledger, shaping.governor, engine.lessee, queueing.
Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from postroom.core.limits import LimitKey

if TYPE_CHECKING:
    from postroom.shaping.gate import Gate

Choice = tuple[tuple[LimitKey, ...], ...]
"""The limits of each of several ways, the one that is wanted most first."""


class Needs(NamedTuple):
    """A token of each limit of `along`, and of each limit of one way of every choice."""

    along: tuple[LimitKey, ...] = ()
    choices: tuple[Choice, ...] = ()

    def __add__(self, other: object) -> Needs:
        """Need both."""
        assert isinstance(other, Needs)
        return Needs(self.along + other.along, self.choices + other.choices)

    def keys(self) -> set[LimitKey]:
        """Return all that may be needed."""
        ways = (way for choice in self.choices for way in choice)
        return {*self.along, *(key for way in ways for key in way)}

    def where(self, is_meant: Callable[[LimitKey], bool]) -> Needs:
        """Return what is left of it by leaving out limits; a way without any has all it needs."""
        along = tuple(filter(is_meant, self.along))
        choices = (
            _until_free(tuple(filter(is_meant, way)) for way in choice) for choice in self.choices
        )
        return Needs(along, tuple(choice for choice in choices if choice[0]))


NOTHING = Needs()


def rated(gates: Iterable[Gate]) -> tuple[LimitKey, ...]:
    """Return what the rates among these are of."""
    return tuple(gate.key for gate in gates if gate.has_rate)


def _until_free(ways: Iterable[tuple[LimitKey, ...]]) -> Choice:
    """Return the ways up to the first that needs nothing: there is no need to go further."""
    found = []
    for way in ways:
        found.append(way)
        if not way:
            break
    return tuple(found) or ((),)
