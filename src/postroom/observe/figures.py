"""The figures of one queue: what it holds, what it is doing, what it has done.

One value that the worker fills in, the status board carries and `status` answers, so that a
figure is named in one place.

Called by: supervisor, observe.board, control, cli.  Raises: nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Figures(msgspec.Struct, frozen=True):
    """Figures of one queue at one moment.

    Messages, recipients, held and octets are of the queue; active recipients are in
    memory; `concurrency` bounds the attempts `in_flight`; the counters accepted to failed
    count since the worker started. `room` is how many octets of new mail its disks and
    descriptors let it take: with 0 new connections go to other workers, where any has room.
    `load_ppm` is the load (queueing.load) in parts per million, `oldest_s` for how many
    seconds the attempt is due that has waited longest for its turn, 0 where none waits.
    """

    messages: int = 0
    recipients: int = 0
    held: int = 0
    octets: int = 0
    active: int = 0
    in_flight: int = 0
    sessions: int = 0
    accepted: int = 0
    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    concurrency: int = 0
    room: int = 0
    load_ppm: int = 0
    oldest_s: int = 0


def figures_in(value: Figures) -> dict[str, Any]:
    """Return the figures alone, by name, of anything that has them."""
    return {name: getattr(value, name) for name in Figures.__struct_fields__}
