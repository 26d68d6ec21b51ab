"""Mail to and from other mail systems arrives octet for octet; `make interop` is the long form.

Each peer takes part in one direction here: with all of the five extensions, with none, and with
some, and what cannot go without one is returned with its status.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.interop.aiosmtpd_peer import AiosmtpdPeer
from tests.interop.combination import EXTENSIONS, Combination
from tests.interop.exim_peer import EximPeer
from tests.interop.letters import KINDS
from tests.interop.peer import Peer, permitted
from tests.interop.postfix_peer import PostfixPeer
from tests.interop.rounds import Round, receives, sends
from tests.support.debian_package import Missing

pytestmark = pytest.mark.peer

ALL = Combination(EXTENSIONS)
NONE = Combination()


def the_round(peer: Peer, direction: str, combinations: Sequence[Combination]) -> Round:
    try:
        return (receives if direction == "receives" else sends)(peer, combinations)
    except Missing as error:
        pytest.skip(str(error))


def test_exim_gets_what_was_sent_whatever_it_offers() -> None:
    some = Combination(("PIPELINING", "STARTTLS"))
    found = the_round(EximPeer(), "receives", (ALL, NONE, some)).verdict
    assert found.differences == []
    # Of the twelve, four need 8BITMIME or SMTPUTF8.
    assert (found.delivered, found.returned) == (12 + 8 + 8, 4 + 4)


def test_what_postfix_sends_is_passed_on_as_it_came() -> None:
    peer = PostfixPeer()
    best = Combination(name for name in EXTENSIONS if name != "CHUNKING")
    found = the_round(peer, "sends", (best, NONE)).verdict
    assert found.differences == []
    # It returns two letters that need SMTPUTF8, and writes three others in 7 bit.
    assert (found.delivered, found.returned, found.converted) == (12 + 7, 2, 3)


def test_aiosmtpd_takes_part_without_chunking() -> None:
    peer = AiosmtpdPeer()
    found = the_round(peer, "receives", permitted(peer, "receives")[-2:])
    assert found.verdict.differences == []
    assert found.verdict.sent == 2 * len(KINDS)
