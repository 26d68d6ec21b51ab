"""How the mail of one lane may depart: from which sources, by which new connections.

Values only; queueing.departures keeps them.  Called by: queueing.  Raises: nothing.
"""

from __future__ import annotations

from postroom.shaping.allowance import Expected
from postroom.shaping.gate import Gate
from postroom.shaping.source import SourcePolicy


class Way:
    """The way of one lane."""

    __slots__ = ("connects", "drawn", "expected", "is_asked_for", "must_connect", "pool")

    def __init__(self) -> None:
        self.pool: tuple[SourcePolicy, ...] = ()
        self.drawn: SourcePolicy | None = None
        """Whose turn it is, while the lender's answer about it is waited for."""
        self.connects: tuple[Gate, ...] = ()
        """Of the channel and the site; each source has one of its own."""
        self.expected = Expected()
        self.is_asked_for = False
        """True where tokens of a source were asked for along with others, whichever has them."""
        self.must_connect = False
        """True once an attempt found no kept connection that fits, until another ends."""
