"""What lanes, channels and all lanes together lack, and what they could use.

Pure.  Called by: queueing.scheduler.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from postroom.queueing.channel_state import ChannelState
from postroom.queueing.lane import Lane
from postroom.queueing.shortage import Shortage, shortage
from postroom.shaping.gate import Gate
from postroom.shaping.needs import NOTHING, Needs, rated


def of_lane(lane: Lane, needs: Needs = NOTHING) -> Shortage:
    """Return what a lane could use: no more than its window lets through."""
    waiting = len(lane)
    slots = min(lane.window, lane.busy + waiting)
    return shortage(lane.gate, slots, min(waiting, max(1, lane.window - lane.busy)), needs)


def all_of(
    short: Mapping[Gate, Lane | ChannelState | None], needs: Mapping[Gate, Needs],
    outer: Sequence[Gate], ready: int, could: int,
) -> list[Shortage]:  # fmt: skip
    """Return what is short: of a site (its lane), of a channel, of all lanes (None).

    `needs` is what is needed along, of sites; `outer` are the gates that all have to pass, `ready`
    the attempts of all lanes; `could`: how many have all else that they need, 0 where that is not
    known.
    """
    found = []
    for gate, of in short.items():
        if isinstance(of, Lane):
            found.append(of_lane(of, needs.get(gate, NOTHING)))
            continue
        could_of = could or ready if of is None else of.could
        slots = gate.busy + (ready if of is None else of.ready)
        found.append(shortage(gate, slots, could_of, Needs(rated(outer)), 0))
    return found
