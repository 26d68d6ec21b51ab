"""An allowance: what one attempt may use beside its slots: a source, new connections.

Owns the token for a new connection that an attempt has in hand. A connection that could not be
opened, or was not needed, costs none: the token serves the next try of the same attempt, or goes
back when the attempt ends. Attempts that count on a kept connection begin without a token.

Pure; `now` is passed in.  Guarantees: 1. no connection is opened without a token of each gate.
2. a token is used once, or goes back.
Called by: queueing.departures (makes and ends it), delivery.opener, delivery.smtp_agent.
Raises: nothing; misuse is an AssertionError.
"""

from __future__ import annotations

from postroom.shaping.gate import Gate
from postroom.shaping.source import SourcePolicy


class Expected:
    """How many attempts of a lane count on one of its kept connections."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Allowance:
    """What one attempt may use; `source` None: the operating system chooses."""

    __slots__ = (
        "_connects", "_expected", "_is_in_hand", "_since", "_until", "error", "gates",
        "is_at_site", "is_refused", "source",
    )  # fmt: skip

    def __init__(
        self,
        source: SourcePolicy | None,
        gates: tuple[Gate, ...] = (),
        connects: tuple[Gate, ...] = (),
    ) -> None:
        """`gates` are those of the source; `connects` those of new connections."""
        self.source = source
        self.gates = gates
        self._connects = connects
        self._expected: Expected | None = None
        self._is_in_hand = False
        self._since = self._until = 0.0
        self.is_refused = False
        """True where a connection was not opened for want of a token."""
        self.error = ""
        """Why the source cannot be used; `is_at_site`: to reach this site alone."""
        self.is_at_site = False

    @property
    def source_name(self) -> str:
        """The name of the source, "" where there is none."""
        return self.source.name if self.source is not None else ""

    @property
    def helo(self) -> str:
        """What the source is called in EHLO, "" where that is not its matter."""
        return self.source.helo if self.source is not None else ""

    def reaches(self, address: str) -> bool:
        """Say whether the source has an address of the family of a host's."""
        return self.source is None or bool(self.source.addresses_for(address))

    def cannot_reach(self, address: str) -> None:
        """Note that a site has no host of a family that the source has an address of."""
        assert self.source is not None
        self.error = f"it has {self.source.families} alone, and no way to {address}"
        self.is_at_site = True

    @property
    def is_stopped(self) -> bool:
        """True where the attempt cannot go on by no fault of a host."""
        return self.is_refused or bool(self.error)

    def count_on(self, expected: Expected) -> None:
        """Begin without a token: a kept connection should be there."""
        expected.number += 1
        self._expected = expected

    def reserve(self, now: float) -> bool:
        """Take a token of each gate in hand; False where one has none."""
        rated = [gate for gate in self._connects if gate.has_rate]
        if not all(gate.has_token(now) for gate in rated):
            return False
        for gate in rated:
            gate.tokens -= 1
        self._is_in_hand = bool(rated)
        self._since = now
        self._until = min((gate.tokens_until for gate in rated), default=0.0)
        return True

    def use_kept(self) -> None:
        """Note that the attempt has a kept connection, and needs no new one for now."""
        self._expect_no_more()

    def connect(self, now: float, *, is_second: bool = False) -> bool:
        """Say whether a new connection may be opened now.

        `is_second`: in place of one that came to nothing just before, whose token serves it too.
        """
        self._expect_no_more()
        if self._is_in_hand and (is_second or now < self._until):
            return True
        self._give_back()
        if self.reserve(now):
            return True
        self.is_refused = True
        return False

    def connected(self) -> None:
        """Note that a connection is ready for mail: this costs the token."""
        self._is_in_hand = False

    def end(self) -> None:
        """Give back what was not used."""
        self._expect_no_more()
        self._give_back()

    def _expect_no_more(self) -> None:
        if self._expected is not None:
            self._expected.number -= 1
            self._expected = None

    def _give_back(self) -> None:
        if not self._is_in_hand:
            return
        self._is_in_hand = False
        for gate in self._connects:
            if gate.has_rate:
                gate.refund(self._since)
