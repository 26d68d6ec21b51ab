"""In which order the hops of a destination are tried.

Pure: randomness is passed in. Hops of a lower preference always come first; inside one
preference the order is random for MX hosts, and as the pool's policy says for relays.
Called by: delivery.smtp_agent.  Raises: nothing. RFC 5321 §5.1.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from postroom.routing.destination import NextHop
from postroom.routing.policy import RelayRoute, RoutePolicy


def order_hops(
    hops: tuple[NextHop, ...],
    route: RoutePolicy,
    entropy: random.Random,
    busy: Callable[[NextHop], int],
    ticket: float | None = None,
) -> tuple[NextHop, ...]:
    """Return `hops` in the order to try them; `busy` says how many attempts use one now.

    `ticket`, from 0 to 1, draws the first of weighted relays; none given: chance does.
    """
    if len(hops) < 2:
        return hops
    ordered: list[NextHop] = []
    by_preference = sorted(hops, key=lambda hop: hop.preference)
    for _, equals in itertools.groupby(by_preference, key=lambda hop: hop.preference):
        group = list(equals)
        if not isinstance(route, RelayRoute):
            # RFC 5321 §5.1: the sender must randomise equal preferences to spread the load.
            entropy.shuffle(group)
        elif route.policy == "weighted":
            group = _weighted(group, route, entropy, ticket)
        elif route.policy == "random":
            entropy.shuffle(group)
        elif route.policy == "least-connections":
            entropy.shuffle(group)
            group.sort(key=busy)
        # "sequence": as configured.
        ordered += group
    return tuple(ordered)


def _weighted(
    group: list[NextHop], route: RelayRoute, entropy: random.Random, first: float | None
) -> list[NextHop]:
    """Draw one after the other: the first by its share, the rest for the case it is down."""
    weights = {(relay.host, relay.port): relay.weight for relay in route.relays}
    left = [(max(0, weights.get((hop.host, hop.port), 1)), hop) for hop in group]
    drawn: list[NextHop] = []
    while left:
        drawn_by = first if first is not None and not drawn else entropy.random()
        ticket = drawn_by * sum(weight for weight, _ in left)
        position = 0
        for position, (weight, _) in enumerate(left):  # noqa: B007
            ticket -= weight
            if ticket < 0:
                break
        drawn.append(left.pop(position)[1])
    return drawn
