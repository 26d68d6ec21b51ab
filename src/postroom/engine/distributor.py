"""The distributor: a new message goes to a queue of the group that it belongs to.

Satisfies ingress.acceptor.Acceptor, before the intake of the queue that the message came to.
What taking a message involves:
  0. the tag is read from the header, where rules of channels ask for it
  1. the groups are found, recipient by recipient; mail for several becomes a message for each
  2. a queue is chosen for each among those of the group that can take it
  3. the parts for other queues are handed over, and then ours is kept; a queue that refuses,
     or is not there, leaves its part to another of the group
  4. the sender has a word once all parts are durable
Where one group has all queues and ours is not clearly busier, all of this is one look at a
flag: the message stays.

Guarantees: 1. as of the intake: done means durable, whole. 2. where no queue of a group takes
the mail nothing is kept of that part, and nothing of ours. 3. a part that may have been kept
by a worker that went away is not given to a second one: the sender hears 451, and what it
repeats may come twice, as after any lost reply.
Called by: ingress sessions, local injection, the maildrop.  Raises: nothing; failures are in
the future.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from postroom.core.clock import Clock
from postroom.core.errors import ReplyError
from postroom.core.ids import QueueId, derived_id
from postroom.core.message import Envelope, Provenance
from postroom.core.reply import Reply
from postroom.engine.intake import Intake
from postroom.engine.mail_parts import Mail, Part
from postroom.engine.peers import PeerLost, PeerUnreachable
from postroom.engine.tag import TagReader
from postroom.groups.placement import Candidate, Placement
from postroom.groups.policy import GroupPolicy, group_of
from postroom.groups.table import GroupTable
from postroom.observe.events import EventSink, MessageSplit

LOOK_S = 0.25
"""How long what the status board said about other queues is believed."""
TRIES_MAX = 4
"""Queues that are tried for one part: a full disk or two, not all, while a client waits."""

ROOM_OF_OWN = 1 << 62
"""Of our own queue the intake says for each message whether there is room."""

# RFC 3463 §3.4: 4.3.2, system not accepting network messages.
NO_QUEUE = "no queue of group {} takes mail now, try again later"
LOST = Reply(451, "4.3.0", "a queue went away, try again later")

Look = Callable[[], Sequence[tuple[Candidate, int]]]
"""Gives the queues that take mail now, with how many octets of it; ours among them, if so."""
HandOver = Callable[[int, QueueId, Envelope, Mail], Awaitable[Reply | None]]
"""Has another queue keep a message; the reply says why it is not kept. Raises PeerLost."""


class Distributor:
    """Places the new mail of one worker."""

    def __init__(
        self,
        own: int,
        intake: Intake,
        clock: Clock,
        entropy: random.Random,
        events: EventSink,
        reach: tuple[Look, HandOver],
    ) -> None:
        self._own = own
        self._intake = intake
        self._clock = clock
        self._entropy = entropy
        self._events = events
        self._look, self._hand_over = reach
        self._looked_at = 0.0
        self._rows: Sequence[tuple[Candidate, int]] = ()
        self._stays = False
        self.reconfigure((GroupPolicy(),))

    def reconfigure(self, groups: Sequence[GroupPolicy], tags: TagReader | None = None) -> None:
        """Put other groups in force; `tags` reads the tag of messages, None: nobody asks."""
        self._tags = tags
        self._table = GroupTable(groups)
        self._placements = {group.name: Placement(group, self._entropy) for group in groups}
        named = {queue for group in groups[:-1] for queue in group.queues}
        self._members = {group.name: frozenset(group.queues) for group in groups[:-1]}
        self._named = frozenset(named)
        self._looked_at = 0.0

    def group_of_own(self) -> GroupPolicy:
        """Return the group that our queue is of."""
        return group_of(self._table.groups, self._own)

    def owns(self, group: GroupPolicy, queue: int) -> bool:
        """Say whether a group has a queue."""
        members = self._members.get(group.name)
        # The default group has all that no other names, also those that it does not list.
        return queue not in self._named if members is None else queue in members

    # As the acceptor of sessions.

    def ready(self, size_octets: int) -> Reply | None:
        """Say whether mail of this size is taken now, by our queue or another."""
        refusal = self._intake.ready(size_octets)
        if refusal is None or self._intake.is_stopping or not self._others(size_octets):
            return refusal
        return None

    def new_id(self) -> QueueId:
        """Return a fresh queue id."""
        return self._intake.new_id()

    def accept(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        *,
        repeated: bool = False,
        arrived_at: float = 0.0,
        hold: str = "",
    ) -> asyncio.Future[None]:
        """Keep a message; see ingress.acceptor.Acceptor."""
        if self._tags is not None and not provenance.tag:
            tag = self._tags.read(content)
            provenance = msgspec.structs.replace(provenance, tag=tag)
        if self._is_simple():
            return self._intake.accept(
                queue_id, envelope, content, provenance, arrived_at=arrived_at, hold=hold
            )
        mail = Mail(content, provenance, arrived_at, hold)
        return asyncio.ensure_future(self._place(queue_id, envelope, mail, repeated=repeated))

    def accept_here(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        hold: str,
    ) -> asyncio.Future[None]:
        """Keep a message in our queue or refuse it; see ingress.acceptor.Acceptor."""
        if self._tags is not None:
            tag = self._tags.read(content)
            provenance = msgspec.structs.replace(provenance, tag=tag)
        groups = [group for group, _ in self._table.split(envelope, provenance)]
        refusal = self._intake.ready(sum(map(len, content)))
        if refusal is None and (len(groups) != 1 or not self.owns(groups[0], self._own)):
            names = ", ".join(group.name for group in groups)
            refusal = Reply(451, "4.3.2", f"this mail is for {names}, not for queue{self._own}")
        if refusal is not None:
            refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            refused.set_exception(ReplyError(refusal))
            return refused
        return self._intake.accept(queue_id, envelope, content, provenance, hold=hold)

    # Inside.

    def _is_simple(self) -> bool:
        """Say whether every message stays here, by what was seen a moment ago."""
        now = self._clock.now()
        if not 0 <= now - self._looked_at < LOOK_S:
            self._looked_at = now
            self._rows = self._with_own(self._look())
            group = self._table.groups[-1]
            self._stays = self._table.is_single and self._placements[group.name].stays(
                [row for row, _ in self._rows], self._own
            )
        return self._stays

    def _with_own(self, rows: Sequence[tuple[Candidate, int]]) -> list[tuple[Candidate, int]]:
        """Put our queue as it knows itself in the place of what the board said of it."""
        load_ppm = next((row.load_ppm for row, _ in rows if row.queue == self._own), 0)
        others = [(row, room) for row, room in rows if row.queue != self._own]
        if self._intake.ready(0) is not None:
            return others
        return [(Candidate(self._own, load_ppm), ROOM_OF_OWN), *others]

    def _others(self, size_octets: int) -> bool:
        self._is_simple()
        return any(row.queue != self._own and room > size_octets for row, room in self._rows)

    async def _place(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        mail: Mail,
        *,
        repeated: bool,
    ) -> None:
        size_octets = sum(map(len, mail.content))
        parts = self._parts(queue_id, envelope, mail.provenance)
        if len(parts) > 1:
            into = tuple(part.id for part in parts)
            self._events.emit(MessageSplit(queue_id, into, tuple(p.group.name for p in parts)))
        # Before anything is kept: is there a queue for each part at all?
        ways = [(part, self._choose(part, size_octets, (), repeated=repeated)) for part in parts]
        ours = [part for part, queue in ways if queue == self._own]
        theirs = [self._give(part, queue, mail) for part, queue in ways if queue != self._own]
        if theirs:
            # Ours comes last, so that a part that cannot be kept leaves nothing here.
            results = await asyncio.gather(*theirs, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        for part in ours:
            await self._keep(part, mail)

    async def _keep(self, part: Part, mail: Mail) -> None:
        kept = self._intake.accept(
            part.id, part.envelope, mail.content, mail.provenance,
            arrived_at=mail.arrived_at, hold=mail.hold,
        )  # fmt: skip
        await asyncio.shield(kept)

    def _parts(self, queue_id: QueueId, envelope: Envelope, provenance: Provenance) -> list[Part]:
        split = self._table.split(envelope, provenance)
        if len(split) == 1:
            return [Part(queue_id, split[0][0], envelope)]
        return [
            Part(
                # The same each time that a message comes again by its id.
                queue_id if not place else derived_id(queue_id, group.name),
                group,
                msgspec.structs.replace(
                    envelope, recipients=tuple([envelope.recipients[one] for one in indexes])
                ),
            )
            for place, (group, indexes) in enumerate(split)
        ]

    def _choose(
        self, part: Part, size_octets: int, without: Sequence[int], *, repeated: bool = False
    ) -> int:
        """Return the number of a queue for a part; raises ReplyError where none can take it."""
        self._is_simple()
        candidates = [
            row
            for row, room in self._rows
            if room > size_octets
            and row.queue not in without
            and self.owns(part.group, row.queue)
            and (row.queue != self._own or self._intake.ready(size_octets) is None)
        ]
        if not candidates:
            refusal = None
            if self.owns(part.group, self._own):
                refusal = self._intake.ready(size_octets)
            raise ReplyError(refusal or Reply(451, "4.3.2", NO_QUEUE.format(part.group.name)))
        if repeated:
            # Whoever repeats a message by its id must come to the same queue.
            return Placement(
                msgspec.structs.replace(part.group, placement="hash"), self._entropy
            ).choose(candidates, self._own, part.id)
        return self._placements[part.group.name].choose(
            candidates, self._own, part.envelope.reverse_path
        )

    async def _give(self, part: Part, queue: int, mail: Mail) -> None:
        """Have another queue keep a part, or a third; raises ReplyError."""
        tried: list[int] = []
        while True:
            if queue == self._own:
                await self._keep(part, mail)
                return
            try:
                refusal = await self._hand_over(queue, part.id, part.envelope, mail)
            except PeerUnreachable:
                refusal = Reply(451, "4.3.2", f"queue{queue} is not there")
            except PeerLost as error:
                raise ReplyError(LOST) from error
            if refusal is None:
                return
            tried.append(queue)
            if len(tried) >= TRIES_MAX:
                raise ReplyError(refusal)
            queue = self._choose(part, sum(map(len, mail.content)), tried)
