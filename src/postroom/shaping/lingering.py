"""Limits that nobody has a share of, and that are kept all the same for a while.

A token that was lent may come back, and counts as not used only where it is known when it was
lent. Once nothing of the past counts any more the limit can go.

Owns which limits these are, and whose turn it is to be looked at: a few with each claim, more
where there are new ones, so that they come to an end without a timer and without a long look.

Pure.  Called by: shaping.governor.  Raises: nothing.
"""

from __future__ import annotations

from collections import deque

from postroom.core.limits import LimitKey
from postroom.shaping.ledger import Ledger

LOOKS_FOR_EACH = 2
"""So many are looked at for each one that is new: what is old goes sooner than new ones come."""


class Lingering:
    """Limits in the order in which they are looked at."""

    __slots__ = ("_due", "_keys")

    def __init__(self) -> None:
        self._keys: deque[LimitKey] = deque()
        self._due = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: LimitKey, ledger: Ledger) -> None:
        """Look at a limit from now on, whose tokens are lent, whoever has a share of it."""
        if not ledger.lingers:
            ledger.lingers = True
            self._keys.append(key)
            self._due += LOOKS_FOR_EACH

    def take(self) -> list[LimitKey]:
        """Take out those to look at now; `put_back` what stays."""
        number, self._due = min(self._due + 1, len(self._keys)), 0
        return [self._keys.popleft() for _ in range(number)]

    def put_back(self, key: LimitKey) -> None:
        """Look at a limit again when all others have had their turn."""
        self._keys.append(key)
