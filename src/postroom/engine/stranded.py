"""Mail that was deferred only because no host of its site could be used: it need not wait.

Owns which lanes have such mail in the store, of which domains, and when each is to be looked at
again. While a lane rests one recipient is brought in at the end of each rest, so that somebody
finds out whether the site works, also where no new mail comes. Once it works all that was
stranded is brought in, as the lane has room: how many attempts that makes at once is for the
lane's window, which begins with one.

What is brought in stays in the store as it was, due later: where it could not be tried either it
leaves memory again, and nothing was written.

Pure.  Guarantees: 1. memory is bounded: LANES_MAX lanes, DOMAINS_MAX domains each; beyond them
mail waits for its retry time, or all domains are looked through.
Called by: engine.admission, engine.pump, engine.revival.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from postroom.core.ids import QueueId
from postroom.queueing.lane import LaneKey
from postroom.spool.store import DueKey

LANES_MAX = 10_000
DOMAINS_MAX = 200
TRIED_MAX = 1_000
"""Recipients of a lane whose own attempt found that no host could be used."""
AGAIN_S = 60.0
"""A lane of which nothing was heard after a look is looked at again."""
LAST_LOOK_S = 2.0
"""What was being settled when a lane woke is durable by then."""


class _Lane:
    """Stranded mail of one lane."""

    __slots__ = ("domains", "is_any", "is_awake", "is_last_look", "look_at", "place", "tried")

    def __init__(self) -> None:
        self.domains: dict[str, None] = {}
        """More than DOMAINS_MAX: any."""
        self.is_any = False
        self.tried: set[tuple[QueueId, int]] = set()
        self.look_at = 0.0
        self.is_awake = False
        self.is_last_look = False
        self.place: DueKey | None = None


class Stranded:
    """The lanes of one queue that have stranded mail."""

    __slots__ = ("_lanes", "_next_at", "on_sooner")

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, _Lane] = {}
        self._next_at = float("inf")
        self.on_sooner: Callable[[], None] = lambda: None
        """Told when a lane is to be looked at sooner than `next_at` said."""

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def next_at(self) -> float:
        """When a lane is to be looked at; no later than that."""
        return self._next_at

    def note(
        self,
        lane: LaneKey,
        domains: Iterable[str],
        until: float,
        tried: Iterable[tuple[QueueId, int]] = (),
    ) -> None:
        """Note that mail of a lane, which rests until then, is deferred; `tried` was attempted."""
        known = self._lanes.get(lane)
        if known is None:
            known = self._lanes[lane] = _Lane()
            if len(self._lanes) > LANES_MAX:
                del self._lanes[next(iter(self._lanes))]
        if len(known.domains) <= DOMAINS_MAX:
            known.domains.update(dict.fromkeys(domains))
        if len(known.tried) < TRIED_MAX:
            known.tried.update(tried)
        known.is_awake = False
        self._look_at(known, until)

    def widen(self, lane: LaneKey) -> None:
        """Note that mail of other domains than those that were noted may be stranded."""
        self._lanes[lane].is_any = True

    def wake(self, lane: LaneKey, now: float) -> bool:
        """Note that a lane's site works: all its stranded mail may come; False without any."""
        known = self._lanes.get(lane)
        if known is None:
            return False
        if not known.is_awake:
            known.is_awake, known.is_last_look, known.place = True, False, None
        self._look_at(known, now)
        return True

    def wake_site(self, site: str, now: float) -> None:
        """Note that all lanes of a site ("": of any) may go on."""
        for lane in [lane for lane in self._lanes if site in ("", lane.site)]:
            self.wake(lane, now)

    def is_awake(self, lane: LaneKey) -> bool:
        """Say whether mail of a lane is to be brought in."""
        known = self._lanes.get(lane)
        return known is not None and known.is_awake

    def due(self, now: float) -> list[LaneKey]:
        """Return the lanes to look at now."""
        if now < self._next_at:
            return []
        found = [lane for lane, known in self._lanes.items() if known.look_at <= now]
        for lane in found:
            # Unless more is heard: of its rest, or that it works.
            self._lanes[lane].look_at = now + AGAIN_S
        self._next_at = min((one.look_at for one in self._lanes.values()), default=float("inf"))
        return found

    def domains(self, lane: LaneKey) -> tuple[str, ...]:
        """Return the domains to look through; () where that is all of them."""
        known = self._lanes[lane]
        return (
            tuple(known.domains) if len(known.domains) <= DOMAINS_MAX and not known.is_any else ()
        )

    def place(self, lane: LaneKey) -> DueKey | None:
        """Return the place after which the mail of a lane that is awake goes on."""
        return self._lanes[lane].place

    def has(self, lane: LaneKey, queue_id: QueueId, index: int, reply: str) -> bool:
        """Say whether a recipient waits only for a host, by its last reply or its attempt."""
        known = self._lanes.get(lane)
        return known is not None and (is_absence(reply) or (queue_id, index) in known.tried)

    def advance(self, lane: LaneKey, last: DueKey | None, now: float) -> None:
        """Note how far the mail of a lane that is awake was brought in; None: to the end."""
        known = self._lanes.get(lane)
        if known is None or not known.is_awake:
            return
        known.place = last
        if last is not None:
            # Looked at again when there is room.
            self._look_at(known, now)
        elif known.is_last_look:
            del self._lanes[lane]
        else:
            known.is_last_look = True
            self._look_at(known, now + LAST_LOOK_S)

    def forget(self, lane: LaneKey) -> None:
        """Note that nothing is stranded any more."""
        self._lanes.pop(lane, None)

    def _look_at(self, lane: _Lane, at: float) -> None:
        lane.look_at = at
        if at < self._next_at:
            self._next_at = at
            self.on_sooner()


def is_absence(reply: str) -> bool:
    """Say whether a reply, as text, says that a host was not there to be asked.

    RFC 5321 §4.2.3: 421, service not available. RFC 3463 §3.5: X.4.1, no answer from host.
    """
    code, _, rest = reply.partition(" ")
    return code == "421" or (code.startswith("4") and rest.startswith("4.4.1 "))
