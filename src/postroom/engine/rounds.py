"""Rounds: recipients of one message that fail at about the same time share one DSN.

The recipients of a message are tried site by site and each site's outcome is judged alone.
Where a DSN is due and other recipients of the message are still queued or in flight, the
failure waits for theirs, JOIN_S at most, and becomes durable with them: a DSN may be about
several recipients (RFC 3461 §5.2.8), and a sender rather reads one. What was delivered never
waits, since a crash meanwhile would send it twice; a failure that a crash forgets is only
found again. Recipients that fail in later rounds have DSNs of their own.

Guarantees: 1. a judgement waits JOIN_S at most, and not at all where nobody else is left.
2. each judgement is returned once, alone or joined.
Called by: engine.settle.  Raises: nothing.
RFCs: 3461.
"""

from __future__ import annotations

import asyncio

import msgspec

from postroom.core.clock import Clock
from postroom.engine.active import ActiveMessage
from postroom.engine.judgement import Judgement
from postroom.observe.events import Event, RecipientDeferred, RecipientFailed
from postroom.reports.decide import ReportKind

JOIN_S = 10.0
"""Longer than most sites need to refuse, too short for a sender to notice."""

_JOINED = (ReportKind.FAILED, ReportKind.DELAYED)


class _Round:
    """What waits for other recipients of its message."""

    __slots__ = ("complete", "judgements")

    def __init__(self) -> None:
        self.judgements: list[Judgement] = []
        self.complete = asyncio.Event()

    @property
    def recipients(self) -> int:
        return sum(len(judgement.statuses) for judgement in self.judgements)


class Rounds:
    """The rounds that are open, by message."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[ActiveMessage, _Round] = {}
        self._ended = False

    async def gather(self, message: ActiveMessage, failures: Judgement) -> Judgement | None:
        """Return failures with all that joined them, or None where they joined earlier ones."""
        current = self._open.get(message)
        if current is not None:
            current.judgements.append(failures)
            self.look(message)
            return None
        if self._ended or len(message.statuses) <= len(failures.statuses):
            return failures
        current = self._open[message] = _Round()
        current.judgements.append(failures)
        try:
            async with asyncio.timeout(JOIN_S):
                await current.complete.wait()
        except TimeoutError:
            pass
        finally:
            del self._open[message]
        return _joined(current.judgements, self._clock.now())

    def look(self, message: ActiveMessage) -> None:
        """Note that fewer recipients of a message are awaited: perhaps nobody any more."""
        current = self._open.get(message)
        if current is not None and len(message.statuses) <= current.recipients:
            current.complete.set()

    def end(self) -> None:
        """Let nothing wait from now on."""
        self._ended = True
        for current in self._open.values():
            current.complete.set()


def split(judgement: Judgement) -> tuple[Judgement, Judgement]:
    """Part what is settled at once from the failures that may wait for others."""
    waiting = {report.status.index for report in judgement.reports if report.kind in _JOINED}
    pairs = tuple(zip(judgement.statuses, judgement.events, strict=True))

    def of(*, later: bool) -> Judgement:
        chosen = [pair for pair in pairs if (pair[0].index in waiting) is later]
        return Judgement(
            tuple(status for status, _ in chosen),
            sum(status.state.is_final for status, _ in chosen),
            tuple(event for _, event in chosen),
            tuple(one for one in judgement.reports if (one.status.index in waiting) is later),
            () if later else judgement.dropped,
            judgement.at,
        )

    return of(later=False), of(later=True)


def _joined(judgements: list[Judgement], now: float) -> Judgement:
    return Judgement(
        tuple(status for one in judgements for status in one.statuses),
        sum(one.finals for one in judgements),
        tuple(_waited(event, now - one.at) for one in judgements for event in one.events),
        tuple(report for one in judgements for report in one.reports),
        tuple(event for one in judgements for event in one.dropped),
        now,
    )


def _waited(event: Event, seconds: float) -> Event:
    assert isinstance(event, RecipientDeferred | RecipientFailed), "what was delivered never waits"
    return msgspec.structs.replace(event, waited_s=max(0.0, round(seconds, 3)))
