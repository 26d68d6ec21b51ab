"""What a gate keeps from starting, as it is asked of the lender.

Pure.  Called by: queueing.scheduler, engine.pump.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from postroom.core.limits import LimitKey
from postroom.queueing.channel_state import ChannelState
from postroom.queueing.lane import Lane
from postroom.shaping.gate import Gate


class Shortage(NamedTuple):
    """A gate, the slots that could be used in all, and the tokens beyond those that are there.

    A token is of use only along with one of each limit of `along`.
    """

    gate: Gate
    slots: int
    tokens: int
    along: tuple[LimitKey, ...] = ()


def of_lane(lane: Lane) -> Shortage:
    """Return what a lane could use: no more than its window lets through."""
    waiting = len(lane)
    slots = min(lane.window, lane.busy + waiting)
    tokens = min(waiting, max(1, lane.window - lane.busy)) if lane.gate.has_rate else 0
    return Shortage(lane.gate, slots, tokens, rated(lane.gates[1:]) if tokens else ())


def all_of(
    short: Mapping[Gate, Lane | ChannelState | None], outer: Sequence[Gate], ready: int, could: int
) -> list[Shortage]:
    """Return what is short: of a site (its lane), of a channel, of all lanes (None).

    `outer` are the gates that all have to pass, `ready` the attempts of all lanes; `could`: how
    many have all else that they need, 0 where that is not known.
    """
    found = []
    for gate, of in short.items():
        if isinstance(of, Lane):
            found.append(of_lane(of))
        elif of is not None:
            found.append(of_channel(gate, of.ready, of.could, outer))
        else:
            others = [other for other in outer if other is not gate]
            found.append(of_channel(gate, ready, could or ready, others))
    return found


def of_channel(gate: Gate, ready: int, could: int, others: Sequence[Gate] = ()) -> Shortage:
    """Return what the lanes of a channel, or all lanes, could use.

    `could`: how many attempts have all else that they need, so that they could use a token;
    `others` are the gates that each of them has to pass, too.
    """
    tokens = could if gate.has_rate else 0
    return Shortage(gate, gate.busy + ready, tokens, rated(others) if tokens else ())


def rated(gates: Sequence[Gate]) -> tuple[LimitKey, ...]:
    """Return what the rates among these are of."""
    return tuple(gate.key for gate in gates if gate.has_rate)
