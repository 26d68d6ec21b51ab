"""The filter language, and what it finds in a store.

Input: a text, as an operator writes it.

1. A text is a filter, or a FilterError that says what was expected.
2. What a filter is written as means the same filter.
3. A store on disk, which narrows by SQL first, finds what the test in Python accepts of all its
   messages: of a small store, at a moment when some of them are due.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from functools import cache
from pathlib import Path

from postroom.control.filters import FilterError, MailFilter, parse_filter, render
from postroom.core.clock import ManualClock
from postroom.core.ids import QueueId, encode
from postroom.core.message import Envelope, NewMessage, Recipient, RecipientState, RecipientStatus
from postroom.core.terms import Terms
from postroom.observe.events import EventList
from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.store import EmbeddedStore, open_store
from postroom.spool.policy import SpoolPolicy
from postroom.spool.selection import matches
from postroom.spool.store import Arrival, Selection
from tests.fuzz.target import IN_MEMORY, Target, spelt

_NOW = 1_700_000_000.0
_RECIPIENTS = (
    "ann@a.example",
    "bob@B.example",
    "c_d@x%y.example",
    "\u00e9@\u00fc.example",
    "postmaster",
)
_SENDERS = ("", "news@a.example", "a_b%c\\d@a.example", "\u00c9@b.example", "*@star.example")
_REPLIES = ("", "421 4.7.0 later", "450 Greylisted", "550 5.1.1 100% no_such\\user", "\u00c9")


class _Kept:
    """A store that stays open for the whole run, and all that is in it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory(prefix="fuzz-filters-", dir=IN_MEMORY)
        self.store, self.all = self.loop.run_until_complete(self._fill())

    async def _fill(self) -> tuple[EmbeddedStore, list]:
        queue = Path(self.directory.name) / "queue1"
        create_queue(RealDisk(), queue, uuid.UUID(int=1))
        policy = SpoolPolicy(base=self.directory.name, reserve_octets=0, sync="none")
        store = open_store(queue, policy, events=EventList(), clock=ManualClock(_NOW), inline=True)
        for number in range(20):
            await store.take_in(_arrival(number))
        await store.hold((_id(3),), "look at it")
        await store.hold((_id(4),), "quarantine: odd")
        messages, after = [], None
        while True:
            page, after = await store.search(Selection(), _NOW, 100, after)
            messages += page
            if after is None:
                return store, messages


def _id(number: int) -> QueueId:
    return encode(int(_NOW * 1000) - 100_000 * number, 7, number)


def _arrival(number: int) -> Arrival:
    some = [_RECIPIENTS[(number + i) % len(_RECIPIENTS)] for i in range(1 + number % 3)]
    terms = Terms(release_at=_NOW + 500.0) if number % 7 == 5 else None
    envelope = Envelope(_SENDERS[number % len(_SENDERS)], tuple(map(Recipient, some)), terms=terms)
    message = NewMessage(
        _id(number), _NOW - 100.0 * number, envelope, (b"A: b\r\n\r\n" + b"x" * number,)
    )
    statuses = tuple(
        RecipientStatus(
            index,
            RecipientState.WAITING if index != 1 else RecipientState.DELIVERED,
            number % 4,
            (terms.release_at if terms else _NOW - 300.0 + 60.0 * number),
            _REPLIES[number % len(_REPLIES)],
            "mx.example",
        )
        for index in range(len(some))
    )
    return Arrival(message, statuses, "", 0)


@cache
def _kept() -> _Kept:
    return _Kept()


def try_one(octets: bytes) -> None:
    """See the module."""
    text = octets.decode("utf-8", "surrogateescape")
    try:
        meant = parse_filter(text)
    except FilterError as error:
        assert error.problem and error.expected
        return
    assert isinstance(meant, MailFilter)
    written = render(meant)
    assert parse_filter(written) == meant, f"{written!r} is another filter"
    assert parse_filter(written, needed=True) == meant
    kept = _kept()
    selection = meant.query.selection
    wanted = [one.id for one in kept.all if matches(selection, one, _NOW)]
    assert _found(kept, selection) == wanted, f"{written!r} finds others in the store"


def _found(kept: _Kept, selection: Selection) -> list[QueueId]:
    async def all_pages() -> list[QueueId]:
        found: list[QueueId] = []
        after: QueueId | None = None
        for _ in range(50):
            page, after = await kept.store.search(selection, _NOW, 7, after)
            found += [one.id for one in page]
            if after is None:
                return found
        raise AssertionError("the search does not come to an end")

    return kept.loop.run_until_complete(all_pages())


TARGET = Target(
    "filters",
    try_one,
    [
        "postroom.control.filters",
        "postroom.control.filter_words",
        "postroom.core.conditions",
        "postroom.core.expressions",
        "postroom.core.units",
        "postroom.spool.selection",
        "postroom.spool.embedded.narrowing",
        "postroom.spool.embedded.search",
    ],
    seeds=[
        rb"sender=*c\d*",
        *spelt(
            r"all | domain=a.example,.b.example | recipient=*@a.example sender=<>"
            r" | state=waiting,held | age>1h age<2d due<10m | attempts>=1 size<20"
            r' | reply~"421 4.7" reply!~550 | header:X-A=b,"c d" header:Y | queue=1,queue2'
            r' | site={a,b}.mx.example tenant="" class!=bulk | domain!=*x%y* recipient=c_d@*'
            r" | sender=*%* | due<-1m | state!=deferred id=0000000000000001"
        ),
    ],
    words=spelt(
        r"domain= | recipient= | sender= | state= | age> | due< | attempts= | size>"
        r" | channel= | site= | tenant= | class= | reply~ | reply!~ | header: | queue="
        r' | id= | != | >= | <= | <> | "\\" | " | ,, | * | *@ | % | _ | \\ | scheduled'
        r" | quarantined | deferred | waiting | held | 1ms | 1e5 | \xc3\x89 | \xff"
        r" | (a|b)? | .* | [^a] | {2,3} | \\d{1,3} | { | }"
    ),
    octets_max=400,
)
