"""The governor: who may use how much of each limit.

Owns, for every limit that anybody uses, the slots that each holder has, what each would like to
have, and the meter of its rate. Holders are the workers of a server; they ask for slots and
tokens in blocks, so that no message pays a round trip, and give back what they do not need.

    targets   max-min fair shares of the limit among what the holders want
    free      the limit less what all hold; nobody gets more than is free
    along     a token is lent along with those of the other limits of the same mail, or not at all:
              one that waits for another here would lapse, and come again when that has lapsed
    caps      holders above their target give back what they are not using, as it falls free
Where more holders want a slot than there are, those without one get a turn after SLICE_S.

Pure; time is passed in.  Guarantees: 1. the sum of what all hold never exceeds a limit, but
where the limit was lowered, and then nothing is granted until it does not.  2. a slot is with one
holder at a time; it comes back when its holder gives it back or has ended.  3. whoever wants
something gets its fair share, as others let go of it.
Called by: supervisor.lending, engine.lessee, tests.  Raises: nothing; misuse is an
AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from postroom.core.limits import PROBE, Limit, LimitKey
from postroom.shaping.agenda import Agenda
from postroom.shaping.gate import UNBOUNDED
from postroom.shaping.ledger import SLICE_S, Ledger, Rated, Share, turn_of, used_up
from postroom.shaping.ledger import Claim as Claim
from postroom.shaping.ledger import Grant as Grant
from postroom.shaping.lingering import Lingering
from postroom.shaping.meters import Live, Meters, Uses
from postroom.shaping.needs import Needs
from postroom.shaping.parked import Parked
from postroom.shaping.shares import fair_shares
from postroom.shaping.window import FORGET_S, Window

SET_BACK_S = 1.0  # a clock that is set back by more
BLOCK_SHARE = 4
"""Where there is plenty, a holder gets a quarter of its part of it beyond what it asked for."""


class Governor:
    """All limits of one server."""

    def __init__(self, limit_of: Callable[[LimitKey], Limit]) -> None:
        self._limit_of = limit_of
        self._ledgers: dict[LimitKey, Ledger] = {}
        self._meters = Meters()
        self._grants: dict[int, list[Grant]] = {}
        self._again = Agenda()
        """Limits that are to be looked at again by time alone, and when."""
        self._seen_at = 0.0
        self._parked = Parked()
        self._lingering = Lingering()
        self._windows: dict[LimitKey, Window] = {}
        self.on_window: Callable[[LimitKey, int, int, bool], None] = lambda *_: None
        """Told how many slots a site takes, how many it took, and whether nothing is known now."""
        self.is_adaptive = True
        """Whether what sites say narrows their limits."""
        self.is_open = True
        """False while somebody of an earlier server may still use slots: nothing is granted."""

    def claim(self, holder: int, claims: Iterable[Claim], now: float) -> None:
        """Take what a holder says; what comes of it is in `grants`."""
        self._see(now)
        for claim in claims:
            ledger = self._ledger(claim.key)
            share = ledger.shares.get(holder)
            if share is None:
                share = ledger.shares[holder] = Share()
                share.since = now
            assert 0 <= claim.slots <= share.held, "a holder gives back what it has"
            share.held -= claim.slots
            if not share.held and (claim.slots or not share.want):
                share.since = now
            share.want = claim.want
            if not share.want_tokens:
                share.tokens_since = now
            share.want_tokens, share.needs = claim.want_tokens, Needs(claim.along, claim.choices)
            if claim.tokens and ledger.meter is not None:
                ledger.meter.take_back(claim.tokens, claim.since)
            if claim.refused or (claim.good and ledger.window is not None):
                self._hear(holder, claim, ledger, now)
            self._settle(claim.key, ledger, now)
            if share.want_tokens and claim.key.kind == PROBE:
                # Silence would be taken for that of a master that is not there.
                self._grants.setdefault(holder, []).append(Grant(claim.key, cap=share.cap))
        self._forget_some(now)

    def leave(self, holder: int, now: float) -> None:
        """Note that a holder has ended: its slots are free; its tokens count as used."""
        self._grants.pop(holder, None)
        for key, ledger in list(self._ledgers.items()):
            if ledger.shares.pop(holder, None) is not None:
                self._settle(key, ledger, now)

    def reconfigure(self, now: float) -> None:
        """Look at every limit again."""
        for key, ledger in list(self._ledgers.items()):
            limit = self._limit_of(key)
            if limit == ledger.limit:
                continue
            ledger.meter = self._meters.changed(key, ledger.meter, limit)
            ledger.limit = limit
            if ledger.window is not None and limit.slots is not None:
                ledger.window.bound(limit.slots)
            self._settle(key, ledger, now)

    def adapt(self, *, wanted: bool, now: float) -> None:
        """Narrow limits by what sites say, or no more."""
        self.is_adaptive = wanted
        if not wanted and self._windows:
            self._windows.clear()
            for key, ledger in list(self._ledgers.items()):
                ledger.window = None
                self._settle(key, ledger, now)

    def open(self, now: float) -> None:
        """Grant from now on."""
        self.is_open = True
        self._settle_all(now)

    @property
    def next_at(self) -> float | None:
        """When `tick` has something to do; None: as long as nobody says anything, never."""
        return self._again.next_at

    def tick(self, now: float) -> None:
        """Look at what has waited for time to pass."""
        self._see(now)
        for key in self._again.take_due(now):
            ledger = self._ledgers.get(key)
            if ledger is not None:
                self._settle(key, ledger, now)

    def grants(self) -> dict[int, list[Grant]]:
        """Return what is to be told to each holder, once."""
        grants, self._grants = self._grants, {}
        return grants

    def __len__(self) -> int:
        """How many limits something is known of."""
        return len(self._ledgers)

    def held(self, key: LimitKey) -> dict[int, int]:
        """Return the slots that each holder has of a limit."""
        ledger = self._ledgers.get(key)
        return {holder: one.held for holder, one in ledger.shares.items()} if ledger else {}

    def waited_for(self, holder: int) -> int:
        """Return how many slots others could use that this holder has, and nobody else can give."""
        return sum(ledger.waited_for(holder) for ledger in self._ledgers.values())

    def window(self, key: LimitKey) -> int | None:
        """Return how many connections a site takes, as far as it has said so."""
        window = self._windows.get(key)
        return window.slots if window is not None else None

    # Rates that outlive the server.

    def arrivals(self, now: float) -> dict[LimitKey, float]:
        """Return the meters that are used up for some time yet, to be kept."""
        return self._meters.arrivals(self._live(), now)

    def uses(self, now: float) -> Uses:
        """Return what was used today of plans by days, to be kept."""
        return self._meters.uses(self._live(), now)

    def forget_bursts(self, now: float) -> None:
        """Take every rate as if all that may go at once had just gone: it may have."""
        self._meters.forget_bursts(now)

    def remember(self, arrivals: dict[LimitKey, float], uses: Uses | None = None) -> None:
        """Take meters as they were kept."""
        self._meters.remember(arrivals, uses or {})

    # Inside.

    def _live(self) -> Live:
        return ((key, ledger.meter) for key, ledger in self._ledgers.items())

    def _ledger(self, key: LimitKey) -> Ledger:
        ledger = self._ledgers.get(key)
        if ledger is None:
            limit, window = self._limit_of(key), self._windows.get(key)
            ledger = self._ledgers[key] = Ledger(limit, self._meters.of(key, limit), window)
        return ledger

    def _hear(self, holder: int, claim: Claim, ledger: Ledger, now: float) -> None:
        """Take what a holder says of how attempts went."""
        if not self.is_adaptive or ledger.limit.slots == 0:
            return
        window = ledger.window
        if window is not None and now - window.heard_at > FORGET_S:
            window = None
        shares = ledger.shares.values()
        ledger.shares[holder].used = claim.used
        # Who has no connection cannot tell a site that is full from one that is down. Those can
        # who have some.
        refused = claim.refused if any(one.used for one in shares) else 0
        if window is None and refused:
            windows = self._windows
            for key in [key for key, one in windows.items() if now - one.heard_at > FORGET_S]:
                del windows[key]
            in_use = claim.refused + sum(min(one.held, max(one.want, one.used)) for one in shares)
            held = sum(one.held for one in shares)
            limit = UNBOUNDED if ledger.limit.slots is None else ledger.limit.slots
            window = windows[claim.key] = Window(limit, in_use, now, held)
        if window is not None:
            is_full = sum(max(one.want, one.used) for one in shares) >= window.slots
            window.note(claim.good, refused, now, is_full=is_full)
            if (news := window.news()) is not None and not window.is_over:
                self.on_window(claim.key, *news, False)
            if window.is_over:
                if window.told:
                    self.on_window(claim.key, window.slots, window.told, True)
                del self._windows[claim.key]
                window = None
        ledger.window = window

    def _see(self, now: float) -> None:
        if now < self._seen_at - SET_BACK_S:
            self._settle_all(now)  # or all would wait until it is as late again
        self._seen_at = now

    def _settle_all(self, now: float) -> None:
        for key, ledger in list(self._ledgers.items()):
            self._settle(key, ledger, now)

    def _settle(self, key: LimitKey, ledger: Ledger, now: float) -> None:
        """Grant what can be granted of one limit, and of those that wait for its tokens."""
        again = None
        if self.is_open:
            given: dict[int, list[int]] = {}
            slots_again = self._settle_slots(ledger, now, given)
            if self._parked.is_awaited(key):
                self._serve_parked(key, ledger, now, ledger.tokens_since)
            tokens_again = self._settle_tokens(key, ledger, now, given)
            if ledger.is_watched is not (ledger.window is not None):
                ledger.is_watched = not ledger.is_watched
                for holder in ledger.shares:
                    given.setdefault(holder, [0, 0])
            again = min((at for at in (slots_again, tokens_again) if at is not None), default=None)
            for holder, (slots, tokens) in given.items():
                self._grant(holder, key, ledger, slots, tokens, now)
        self._again.set(key, again)
        for holder in [holder for holder, share in ledger.shares.items() if share.is_idle]:
            del ledger.shares[holder]
        if self._parked.is_awaited(key):
            self._serve_parked(key, ledger, now)
        elif not ledger.shares and not ledger.lingers and key in self._ledgers:
            del self._ledgers[key]
            self._meters.keep(key, ledger.meter, now)

    def _forget_some(self, now: float) -> None:
        """Forget limits whose tokens were lent, and of which nothing counts any more."""
        for key in self._lingering.take():
            ledger = self._ledgers[key]
            if ledger.shares or self._parked.is_awaited(key) or not ledger.is_over(now):
                self._lingering.put_back(key)
            else:
                del self._ledgers[key]
                self._meters.keep(key, ledger.meter, now)

    def _grant(
        self, holder: int, key: LimitKey, ledger: Ledger, slots: int, tokens: int, now: float
    ) -> None:
        share = ledger.shares.get(holder)
        cap = share.cap if share is not None else UNBOUNDED
        until = ledger.meter.until(now) if ledger.meter is not None else 0.0
        grant = Grant(key, slots, cap, tokens, until, ledger.is_watched)
        self._grants.setdefault(holder, []).append(grant)

    def _serve_parked(self, key: LimitKey, ledger: Ledger, now: float, before: float = inf) -> None:
        """Look again at the limits that wait for tokens of one, as far as it has any.

        Only at those that have waited since `before`.
        """
        meter = ledger.meter
        while self._parked.since(key) < before and (meter is None or meter.available(now)):
            waiting = self._parked.take(key)
            if waiting in self._ledgers:
                self._settle(waiting, self._ledgers[waiting], now)
        if self._parked.is_awaited(key) and meter is not None:
            self._again.no_later(key, meter.next_at(now))

    def _settle_slots(
        self, ledger: Ledger, now: float, given: dict[int, list[int]]
    ) -> float | None:
        shares = ledger.shares
        limit = ledger.bound
        held = sum(share.held for share in shares.values())
        wants = {holder: share.want for holder, share in shares.items() if share.want}
        turn = sorted(wants, key=lambda one: turn_of(shares[one], now))
        targets = fair_shares(limit, [wants[holder] for holder in turn])
        target = dict(zip(turn, targets, strict=True))
        spare = max(0, limit - sum(targets))
        free = limit - held
        missing = sum(max(0, target[one] - shares[one].held) for one in turn)
        for holder, share in shares.items():
            cap = target.get(holder, 0)
            if missing <= free or share.held <= cap:
                cap = UNBOUNDED
            if cap != share.cap:
                share.cap = cap
                given.setdefault(holder, [0, 0])
        block = spare // (BLOCK_SHARE * len(shares)) if missing <= free and shares else 0
        for holder in turn:
            share = shares[holder]
            slots = min(target[holder] - share.held, free)
            if slots <= 0:
                continue
            slots = min(slots + block, free)
            free -= slots
            if not share.held:
                share.since = now
            share.held += slots
            given.setdefault(holder, [0, 0])[0] += slots
        waits = any(not shares[holder].held for holder in turn)
        return now + SLICE_S if waits and limit > 0 else None

    def _settle_tokens(
        self, key: LimitKey, ledger: Ledger, now: float, given: dict[int, list[int]]
    ) -> float | None:
        meter = ledger.meter
        if meter is None:
            return None
        shares = ledger.shares
        turn = sorted(
            (holder for holder, share in shares.items() if share.want_tokens),
            key=lambda one: shares[one].tokens_since,
        )
        left = len(turn)
        for holder in turn:
            share = shares[holder]
            tokens = min(share.want_tokens, -(-meter.available(now) // left))
            left -= 1
            if not tokens:
                return meter.next_at(now)
            others = self._along(key, share, now)
            if others is None:
                continue
            meters = [meter, *(its for _, _, its in others)]
            least = min(each.available(now) for each in meters)
            tokens = min(tokens, least)
            if tokens == share.want_tokens:
                # Where there is plenty a holder gets more than it asked for, or each few messages
                # would pay a round trip; what it does not use comes back.
                tokens += max(0, least - tokens * len(turn)) // (BLOCK_SHARE * len(turn))
            for each in meters:
                each.lend(tokens, now)
            for other, one, _ in others:
                self._grant(holder, other, one, 0, tokens, now)
            self._lingering.add(key, ledger)
            # Whoever needs more asks again: it may need less by now.
            share.want_tokens = 0
            given.setdefault(holder, [0, 0])[1] += tokens
        return None

    def _along(self, key: LimitKey, share: Share, now: float) -> list[Rated] | None:
        """Return the limits that lend a holder tokens along with one; None: it has to wait."""
        along, choices = share.needs
        found = self._rated(along)
        waits_for = used_up(found, now)
        for choice in choices if waits_for is None else ():
            ways = []
            for rates in map(self._rated, choice):
                lacks = used_up(rates, now)
                if lacks is None:
                    found += rates
                    break
                ways.append(lacks)
            else:
                # Whichever of them has a token first.
                for lacks in ways:
                    self._wait_for(key, lacks, share, now)
                return None
        if waits_for is not None:
            self._wait_for(key, waits_for, share, now)
            return None
        return found

    def _wait_for(self, key: LimitKey, other: Rated, share: Share, now: float) -> None:
        """Have a limit looked at again as soon as another has a token."""
        self._parked.park(key, other[0], share.tokens_since)
        self._again.no_later(other[0], other[2].next_at(now))

    def _rated(self, keys: Iterable[LimitKey]) -> list[Rated]:
        """Return those of some limits that have rates."""
        found = []
        for key in keys:
            ledger = self._ledger(key)
            if ledger.meter is not None:
                self._lingering.add(key, ledger)
                found.append((key, ledger, ledger.meter))
        return found
