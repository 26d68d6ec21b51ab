"""The ledger of a crash test: what was sent, acknowledged, announced and received.

Each recipient address is used once, so that it names one recipient of one message. A
message starts with `X-Crash-Id`; what stands before it was added on the way.

Checks, by the numbers of docs/queue.md:
1. every recipient of an acknowledged message was received, and for a refused one the sender
   got a DSN that names it;
2. whatever was received is whole, acknowledged or not;
4. what was announced as delivered (the event follows the commit) is never sent again, and
   the transactions received twice because of a kill are at most those that were in flight
   plus those that the sink took during one commit before it.
Called by: tools.crash, tests.  Raises: nothing; `check` returns what is wrong.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from postroom.sink.recorder import Received

MARK = b"X-Crash-Id: "
BACK = "back.example"
REFUSED = "refused.example"
LOG_PRECISION_S = 0.002
"""The log writes milliseconds, cut off."""
SETTLED_SLACK_S = 1.0
"""A settlement may take this much longer than the slowest that was seen and announced."""


class Sent(msgspec.Struct):
    """One message that was handed over, or partly."""

    name: str
    digest: bytes
    recipients: tuple[str, ...]
    acknowledged: bool = False
    back: str = BACK
    """The domain of its reverse-path."""

    @property
    def expected(self) -> tuple[str, ...]:
        """The addresses at which something must arrive."""
        taken = tuple(one for one in self.recipients if not one.endswith(REFUSED))
        if len(taken) < len(self.recipients):
            taken += (f"{self.name}@{self.back}",)
        return taken

    @property
    def refused(self) -> tuple[str, ...]:
        """The addresses of which a DSN must tell."""
        return tuple(one for one in self.recipients if one.endswith(REFUSED))


class Kill(msgspec.Struct):
    """One kill, and what it cost."""

    at: float
    target: str
    in_flight_max: int
    """Attempts that the killed processes may have had in flight, by configuration."""
    until: float = 0.0
    """When the next start began: what the sink took before was on its way at the kill."""
    doubled: int = 0
    """Transactions before it whose recipients were sent a second time after it."""
    in_commit: int = 0
    """Transactions that the sink took during one commit before it."""
    oldest_s: float = 0.0
    """How long before the kill the earliest of those doubled had been received."""
    since: float = 0.0
    """Since when the victim had not been able to commit: it was stopped, or its disk was full."""

    @property
    def commit_from(self) -> float:
        """When the commit may have begun that the kill cut off, but for how long one takes."""
        return self.since or self.at

    @property
    def bound(self) -> int:
        """The most transactions that guarantee 4 lets it double."""
        return self.in_flight_max + self.in_commit


class Taken(NamedTuple):
    """A transaction that the sink took."""

    at: float
    recipients: tuple[str, ...]


class Findings(msgspec.Struct):
    """What a run came to."""

    messages: int = 0
    acknowledged: int = 0
    recipients: int = 0
    deferred: int = 0
    received: int = 0
    reports: int = 0
    unacknowledged_received: int = 0
    duplicates: int = 0
    slowest_settlement_s: float = 0.0
    violations: list[str] = []


class Ledger:
    """Everything that happened in one run."""

    def __init__(self) -> None:
        self.sent: dict[str, Sent] = {}
        self.kills: list[Kill] = []
        self.announced: dict[str, list[float]] = {}
        self.disturbed: list[tuple[float, float]] = []
        """When processes were stopped or disks full, by us: settlements took as long."""
        self.once: str = ""
        """Messages whose names begin so are accepted once, however often they were asked for."""
        self.told: set[str] = set()
        """Recipients that the event stream calls delivered."""
        self._ids: dict[str, str] = {}
        self._accepted_twice: set[str] = set()
        self._deferred = 0

    def send(
        self, name: str, content: bytes, recipients: tuple[str, ...], back: str = BACK
    ) -> Sent:
        """Note that a message is about to be handed over."""
        digest = hashlib.sha256(content).digest()
        one = self.sent[name] = Sent(name, digest, recipients, back=back)
        return one

    def announce(self, events: Iterable[dict[str, Any]], moment: Callable[[str], float]) -> None:
        """Note the events of a log; `moment` turns their time into seconds."""
        for event in events:
            if event["event"] == "delivered":
                recipient = event["recipient"]
                self.announced.setdefault(recipient, []).append(moment(event["time"]))
                if self.once and recipient.startswith(self.once):
                    first = self._ids.setdefault(recipient, event["id"])
                    if first != event["id"]:
                        self._accepted_twice.add(recipient)
            elif event["event"] == "deferred":
                self._deferred += 1

    def check(self, received: Iterable[Received]) -> Findings:
        """Return the numbers of the run, and every violation; contents are not kept."""
        found = Findings(messages=len(self.sent), deferred=self._deferred)
        self.disturbed = joined(self.disturbed)
        taken: list[Taken] = []
        takings = self._takings(received, taken, found)
        self._check_acknowledged(takings, found)
        self._check_duplicates(taken, takings, found)
        found.violations += [
            f"{address}: its request was accepted twice" for address in sorted(self._accepted_twice)
        ]
        return found

    def _takings(
        self, received: Iterable[Received], taken: list[Taken], found: Findings
    ) -> dict[str, list[float]]:
        """Return when each address was received; note damaged and unknown messages."""
        takings: dict[str, list[float]] = {}
        for message in received:
            content = message.octets
            taken.append(Taken(message.at, message.recipients))
            for address in message.recipients:
                takings.setdefault(address, []).append(message.at)
            if not message.reverse_path:
                found.reports += 1
                name = message.recipients[0].partition("@")[0]
                one = self.sent.get(name)
                if one is None or not all(text.encode() in content for text in one.refused):
                    found.violations.append(f"{name}: its DSN does not name the refused recipient")
                continue
            header, mark, rest = content.partition(MARK)
            name = rest[: rest.find(b"\r\n")].decode("latin-1")
            one = self.sent.get(name)
            if one is None:
                found.violations.append(f"received what nobody sent: {content[:80]!r}")
            elif hashlib.sha256(mark + rest).digest() != one.digest:
                found.violations.append(f"{name}: its content was changed")
            elif not header.startswith(b"Received: ") or header.count(b"Received: ") != 1:
                found.violations.append(f"{name}: not one Received header before it")
            elif not set(message.recipients) <= set(one.recipients):
                found.violations.append(f"{name}: sent to others: {message.recipients}")
        return takings

    def _check_acknowledged(self, takings: dict[str, list[float]], found: Findings) -> None:
        for one in self.sent.values():
            if not one.acknowledged:
                found.unacknowledged_received += any(a in takings for a in one.expected)
                continue
            found.acknowledged += 1
            found.recipients += len(one.recipients)
            lost = [address for address in one.expected if address not in takings]
            if lost:
                found.violations.append(f"{one.name}: acknowledged and lost: {', '.join(lost)}")

    def _check_duplicates(
        self, received: list[Taken], takings: dict[str, list[float]], found: Findings
    ) -> None:
        found.received = len(takings)
        found.duplicates = sum(len(times) - 1 for times in takings.values())
        for address, announced in self.announced.items():
            times = takings.get(address, [])
            if not times:
                found.violations.append(f"{address}: announced as delivered, never received")
            elif times[-1] > announced[0] + LOG_PRECISION_S:
                found.violations.append(f"{address}: sent again after it was durably delivered")
            elif len(announced) == 1 and not self._is_disturbed(times[-1], announced[0]):
                wait_s = announced[0] - times[-1]
                found.slowest_settlement_s = max(found.slowest_settlement_s, wait_s)
        found.violations += [
            f"{address}: delivered by the event stream, never received"
            for address in sorted(self.told - takings.keys())
        ]
        self._blame_kills(received, takings, found)

    def _blame_kills(
        self, received: list[Taken], takings: dict[str, list[float]], found: Findings
    ) -> None:
        """Count each repeated transaction at the kill that it was repeated for."""
        window_s = found.slowest_settlement_s
        moments = sorted(message.at for message in received)
        kills = [kill.until for kill in self.kills]
        for kill in self.kills:
            until = bisect.bisect_right(moments, kill.at)
            kill.in_commit = until - bisect.bisect_left(moments, kill.commit_from - window_s)
        for message in received:
            again = self._repeated_at(message, takings)
            if again is None:
                continue
            number = bisect.bisect_left(kills, message.at)
            if number == len(kills) or self.kills[number].at > again:
                found.violations.append(f"{message.recipients[0]}: sent again without a kill")
                continue
            kill = self.kills[number]
            kill.doubled += 1
            kill.oldest_s = max(kill.oldest_s, kill.commit_from - message.at)
        for kill in self.kills:
            if kill.doubled > kill.bound:
                found.violations.append(
                    f"a kill of the {kill.target} doubled {kill.doubled} transactions;"
                    f" at most {kill.bound} were in flight or in a commit"
                )
            if kill.oldest_s > window_s + SETTLED_SLACK_S:
                found.violations.append(
                    f"a kill of the {kill.target} doubled a transaction that had ended"
                    f" {kill.oldest_s:.2f} s before; the slowest settlement took {window_s:.2f} s"
                )

    def _is_disturbed(self, since: float, until: float) -> bool:
        """Say whether something was stopped or full in this time."""
        place = bisect.bisect_right(self.disturbed, (until,))
        return place > 0 and self.disturbed[place - 1][1] >= since

    def _repeated_at(self, message: Taken, takings: dict[str, list[float]]) -> float | None:
        """Return when the first of its recipients was received again, None where none was."""
        later = [
            moment
            for address in message.recipients
            for moment in takings[address]
            if moment > message.at
        ]
        return min(later, default=None)


def joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return spans of time in their order, those that overlap as one."""
    found: list[tuple[float, float]] = []
    for since, until in sorted(spans):
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(until, found[-1][1]))
        else:
            found.append((since, until))
    return found
