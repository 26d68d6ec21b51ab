"""Probation: after a crash, the mail that was in flight is tried one message at a time.

Owns the trials. What they involve:
  1. the crash is counted against what was in flight (engine.suspects says how), durably,
     before anything is tried again
  2. who reached CRASHES_MAX is quarantined: held, with the reason, until released
  3. the other suspects are tried one after the other, the most suspicious first. For the
     first ALONE_S nothing else is attempted, so that whoever crashes us then was alone
  4. an attempt longer than TRIAL_S is a slow one: the next trial begins beside it. Only who
     was counted twice already is tried alone to the end
  5. who was tried is like all other mail, and its counter is set back

Guarantees: 1. a message that kills its worker in every attempt is quarantined after
CRASHES_MAX crashes. 2. mail that only flew beside it is never counted more than once, unless
its own attempt goes on while a suspect crashes. 3. other mail waits ALONE_S at most.
Called by: engine.engine.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

import msgspec

from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.engine.active import ActiveTable
from postroom.engine.admission import Admission
from postroom.engine.parts import Parts
from postroom.engine.pump import Pump
from postroom.engine.suspects import ALONE_FROM, CRASHES_MAX, Suspect, Suspects
from postroom.observe.events import Defect, MessageHeld, MessageSuspected
from postroom.spool.store import Selection

ALONE_S = 10.0
"""So long after a crash the suspects have the worker for themselves, where they need it."""
TRIAL_S = 2.0
"""Most attempts, and most crashes, are over by then."""
POLL_S = 0.1
"""How soon a suspect is missed that left memory without an attempt."""
PAUSE_AFTER_FAILURE_S = 1.0
BATCH_MESSAGES = 500


class Probation:
    """The trials of one queue."""

    def __init__(
        self, parts: Parts, suspects: Suspects, table: ActiveTable, admission: Admission, pump: Pump
    ) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._events = parts.events
        self._crash = parts.crash
        self._flights = parts.flights
        self._suspects = suspects
        self._table = table
        self._admission = admission
        self._pump = pump
        self._first_round = asyncio.Event()

    async def first_round(self) -> None:
        """Wait until every suspect had its trial, ALONE_S at most."""
        if self._suspects:
            try:
                async with asyncio.timeout(ALONE_S):
                    await self._first_round.wait()
            except TimeoutError:
                pass

    async def run(self) -> None:
        """Count the crash, then try whoever is due for a trial; until cancelled."""
        is_counted = False
        while True:
            self._suspects.changed.clear()
            try:
                if not is_counted:
                    await self._count()
                    is_counted = True
                while (suspect := self._suspects.next()) is not None:
                    await self._try(suspect)
                self._first_round.set()
                await self._clear()
            except StoreUnavailable:
                # The store tells of it itself; suspects stay suspects.
                await self._pause()
                continue
            except Exception as error:
                self._events.emit(Defect("probation", repr(error)))
                await self._pause()
                continue
            await self._suspects.changed.wait()

    async def _pause(self) -> None:
        await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    # The crash is counted.

    async def _count(self) -> None:
        suspects = {one.id: one for one in self._suspects.all if one.untried is None}
        ids = sorted(suspects)
        for start in range(0, len(ids), BATCH_MESSAGES):
            some = tuple(ids[start : start + BATCH_MESSAGES])
            found = await self._store.select(Selection(ids=some), self._clock.now(), len(some))
            stored = {message.id: message for message in found}
            await self._count_some(
                [(suspects[queue_id], stored.get(queue_id)) for queue_id in some]
            )

    async def _count_some(self, some: list[tuple[Suspect, StoredMessage | None]]) -> None:
        counted: dict[int, list[Suspect]] = defaultdict(list)
        for suspect, message in some:
            untried = _untried(suspect, message)
            if message is None or message.hold or not untried:
                self._suspects.drop(suspect)  # gone, held, or settled before the crash
                continue
            suspect.count(message.crashes, self._crash)
            counted[min(suspect.crashes, CRASHES_MAX)].append(suspect)
        for crashes, who in counted.items():
            await asyncio.shield(self._store.set_crashes(_ids(who), crashes))
            if crashes >= CRASHES_MAX:
                await self._quarantine(who)
        for crashes, who in counted.items():
            for suspect in who:
                self._events.emit(MessageSuspected(suspect.id, crashes, self._crash))
                if crashes >= CRASHES_MAX:
                    self._events.emit(MessageHeld(suspect.id, self._reason))
        for suspect, message in some:
            if self._suspects.has(suspect):
                suspect.untried = _untried(suspect, message)
                self._suspects.ask(suspect)

    @property
    def _reason(self) -> str:
        return (
            f"quarantine: the worker died {CRASHES_MAX} times while this was attempted"
            f" (last: {self._crash})"
        )

    async def _quarantine(self, who: list[Suspect]) -> None:
        ids = _ids(who)
        await asyncio.shield(self._store.hold(ids, self._reason))
        for suspect in who:
            self._suspects.drop(suspect)
        self._pump.forget(ids)

    # Trials.

    async def _try(self, suspect: Suspect) -> None:
        """Let one suspect be attempted; return once that is over, or lasts too long."""
        while self._pump.suspended:
            await self._pause()
        # Read last of all: what was held or moved meanwhile must not be tried.
        message = await self._store.get(suspect.id)
        untried = _untried(suspect, message)
        if message is None or message.hold or not untried:
            self._suspects.drop(suspect)
            return
        due = _narrowed(message, self._clock.now(), untried)
        if not due.statuses:
            return  # the walk asks for it when it is due
        suspect.is_out = True
        # This may be the end of us: let the log tell all that was before.
        self._events.flush()
        self._admission.admit_trial(due)
        loop = asyncio.get_running_loop()
        until = loop.time() + TRIAL_S
        while self._suspects.has(suspect) and self._is_active(suspect):
            if loop.time() >= until:
                for place in suspect.places:
                    self._flights.slow(place)
                if suspect.crashes < ALONE_FROM or not suspect.places:
                    return
            self._suspects.changed.clear()
            try:
                async with asyncio.timeout(POLL_S):
                    await self._suspects.changed.wait()
            except TimeoutError:
                pass
        # Where its site rests it was deferred without an attempt: the next one is its trial.
        suspect.is_out = False

    def _is_active(self, suspect: Suspect) -> bool:
        active = self._table.get(suspect.id)
        assert suspect.untried is not None
        return active is not None and not suspect.untried.isdisjoint(active.statuses)

    async def _clear(self) -> None:
        """Set back the counters of those that were tried."""
        cleared = self._suspects.cleared
        while cleared:
            some = tuple(cleared[:BATCH_MESSAGES])
            await asyncio.shield(self._store.set_crashes(some, 0))
            del cleared[: len(some)]


def _ids(who: list[Suspect]) -> tuple[QueueId, ...]:
    return tuple(suspect.id for suspect in who)


def _untried(suspect: Suspect, message: StoredMessage | None) -> set[int]:
    """Return the recipients that were in flight and still wait."""
    if message is None:
        return set()
    waiting = {status.index for status in message.statuses if not status.state.is_final}
    if suspect.untried is not None:
        return waiting & suspect.untried
    return {index for index in waiting if suspect.covers(index)}


def _narrowed(message: StoredMessage, now: float, indexes: set[int]) -> StoredMessage:
    """Return a message with only some of its recipients, and only what is due."""
    chosen = [
        (recipient, status)
        for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True)
        if status.index in indexes and status.due_at <= now
    ]
    return msgspec.structs.replace(
        message,
        envelope=msgspec.structs.replace(
            message.envelope, recipients=tuple(recipient for recipient, _ in chosen)
        ),
        statuses=tuple(status for _, status in chosen),
    )
