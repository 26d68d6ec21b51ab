"""What a gate keeps from starting, as it is asked of the lender.

Values only.  Called by: queueing, engine.pump.  Raises: nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from postroom.core.limits import Limit, format_rate
from postroom.shaping.gate import Gate
from postroom.shaping.needs import NOTHING, Needs


class Shortage(NamedTuple):
    """A gate, the slots that could be used in all, and the tokens beyond those that are there.

    A token is of use only along with what it needs.
    """

    gate: Gate
    slots: int
    tokens: int
    needs: Needs = NOTHING


def shortage(gate: Gate, slots: int, could: int, needs: Needs, lanes: int = 1) -> Shortage:
    """Return a shortage of a gate, where `could` attempts could use a token if it has a rate.

    Tokens need what `needs` says beside the gate itself. Where several lanes wait for the gate,
    what concerns the site of one is left out.
    """
    if not could or not gate.has_rate:
        return Shortage(gate, slots, 0)
    own = gate.key
    needs = needs.where(lambda key: key != own and (lanes == 1 or not key.site))
    return Shortage(gate, slots, could, needs)


def said_of(gate: Gate, limit: Limit, now: float) -> str:
    """Say what a closed gate of a source or of new connections allows."""
    if limit.slots == 0:
        return f"{gate.key} is held: its concurrency is 0"
    if limit.plan is not None:
        return f"{gate.key}: {limit.plan.today(now)} messages today, over all queues"
    if limit.rate is not None and not gate.has_token(now):
        return f"{gate.key}: {format_rate(limit.rate)}, over all queues"
    return f"{gate.key} may have {limit.slots} connections, over all queues"
