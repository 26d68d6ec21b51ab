"""Fair shares: a number of slots among those that want some.

Max-min fairness (Bertsekas and Gallager, Data Networks, §6.5): nobody gets more than it wants,
and nobody could get more without taking from somebody who has less.

Pure.  Called by: shaping.governor.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence


def fair_shares(total: int, wants: Sequence[int]) -> list[int]:
    """Return the share of each; what does not divide goes to the first ones."""
    shares = [0] * len(wants)
    left, unmet = total, [place for place, want in enumerate(wants) if want > 0]
    while left > 0 and unmet:
        each = left // len(unmet)
        if not each:
            for place in unmet[:left]:
                shares[place] += 1
            break
        for place in unmet:
            given = min(each, wants[place] - shares[place])
            shares[place] += given
            left -= given
        unmet = [place for place in unmet if shares[place] < wants[place]]
    return shares
