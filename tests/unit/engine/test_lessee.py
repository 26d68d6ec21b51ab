"""The lessee: what is asked for stays asked for as long as somebody waits for it."""

from __future__ import annotations

from collections.abc import Sequence

from postroom.core.limits import Limit, LimitKey, Rate
from postroom.engine.lessee import IDLE_S, Lessee
from postroom.shaping.gate import UNBOUNDED
from postroom.shaping.governor import Claim, Grant
from postroom.shaping.needs import Needs

KEY = LimitKey("site", "c", "s")


class Heard:
    """A lender that only listens."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []

    def claim(self, claims: Sequence[Claim]) -> None:
        self.claims += claims


def test_slots_that_are_called_back_are_still_wanted_while_they_close() -> None:
    lender = Heard()
    lessee = Lessee(lender)
    gate = lessee.gate(KEY, Limit(3))
    lessee.want(gate, 5, 0, 0.0)
    lessee.follow([Grant(KEY, slots=1)], 0.1)
    gate.kept = 1
    lessee.follow([Grant(KEY, cap=0)], 0.2)
    # The connection takes its time to close. Mail waits for the slot all the while.
    lessee.sweep(0.2 + 3 * IDLE_S)
    gate.let_go()
    lessee.sweep(0.2 + 4 * IDLE_S)
    assert lender.claims[-1] == Claim(KEY, slots=1, want=5)
    lessee.follow([Grant(KEY, slots=2, cap=UNBOUNDED)], 9.0)
    assert gate.usable == 2


def test_slots_that_nobody_uses_go_back_and_are_wanted_no_more() -> None:
    lender = Heard()
    lessee = Lessee(lender)
    gate = lessee.gate(KEY, Limit(3))
    lessee.want(gate, 3, 0, 0.0)
    lessee.follow([Grant(KEY, slots=3)], 0.1)
    lessee.sweep(0.1 + IDLE_S / 2)
    assert lender.claims == [Claim(KEY, want=3)]
    lessee.sweep(0.2 + IDLE_S)
    assert lender.claims[-1] == Claim(KEY, slots=3, want=0)
    assert gate.granted == 0


def test_tokens_that_come_soon_after_others_are_used_with_them_by_the_elders_time() -> None:
    lender = Heard()
    lessee = Lessee(lender)
    gate = lessee.gate(KEY, Limit(None, Rate(100, 100)))
    lessee.want(gate, 1, 2, 0.0, Needs((LimitKey("channel", "c"),)))
    lessee.flush()
    assert lender.claims[-1].along == (LimitKey("channel", "c"),)
    lessee.follow([Grant(KEY, slots=9, tokens=2, until=1.0)], 0.0)
    lessee.want(gate, 1, 1, 0.1)
    assert not gate.asked_tokens, "there are some"
    lessee.follow([Grant(KEY, tokens=3, until=1.2)], 0.2)
    assert gate.tokens == 5 and gate.tokens_until == 1.0
    # What has nearly lapsed does not live on, nor does it spoil what is new.
    lessee.follow([Grant(KEY, tokens=1, until=1.9)], 0.9)
    lessee.flush()
    assert gate.tokens == 1 and gate.tokens_until == 1.9
    assert lender.claims[-1].tokens == 5


def test_what_lapses_while_others_are_waited_for_is_asked_for_again_along_with_them() -> None:
    lender = Heard()
    lessee = Lessee(lender)
    channel = LimitKey("channel", "c")
    site = lessee.gate(KEY, Limit(None, Rate(100, 100)))
    lessee.gate(channel, Limit(None, Rate(100, 100)))
    lessee.follow([Grant(channel, tokens=1, until=1.0)], 0.0)
    lessee.want(site, 1, 1, 0.5, Needs((channel,)))
    lessee.flush()
    assert lender.claims[-1].along == (), "it is there"
    lessee.sweep(1.5)
    last = {claim.key: claim for claim in lender.claims[-2:]}
    assert last[channel].tokens == 1
    assert last[KEY].want_tokens == 1 and last[KEY].along == (channel,)
