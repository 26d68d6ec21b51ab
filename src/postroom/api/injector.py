"""Mail from the API to the queues: at once, or so that a request may come again.

A single message without a key goes the way that every program's does (client.Client). With an
Idempotency-Key, and for several messages that belong together, it takes two steps:
  1. a record says which ids go to which queues (api.keys)
  2. each queue keeps its messages, held (engine.unconfirmed)
  3. the record says that all are kept.  # Commit point: from here on they are accepted.
  4. the queues let them go
Whoever dies between, a request that comes again goes on where it was: before 3 with the same
ids in the same queues, where they are not kept twice; after it by the answer that was given.
What nobody comes back for is dropped after a day, and what was not let go is, by `tend`.

Guarantees: 1. a key is one acceptance of all its messages, or none.  2. the answer comes after
the commit.  3. at a time one request of a key is worked on; another hears 409.
Called by: api.injection.  Raises: Problem.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from postroom.api.keys import LIFE_S, Keys, KeyState, Part, Record
from postroom.api.outgoing import Accepted, Kept, Lost, Make, Outgoing, addresses, lost, refused
from postroom.api.problem import RETRY_AFTER_S, Problem
from postroom.api.reach import Reach
from postroom.client import Client, NotAccepted, Unavailable
from postroom.config.model import Config
from postroom.control.answers import Confirmed
from postroom.control.commands import MailConfirmArgs
from postroom.control.protocol import ControlError
from postroom.core.clock import Clock
from postroom.core.ids import QueueId
from postroom.core.message import Provenance
from postroom.core.reply import Reply
from postroom.groups.policy import GroupPolicy
from postroom.groups.table import GroupTable

AT_ONCE_MAX = 16
"""Messages of one request that are handed over at a time."""
TRIES_MAX = 4
HAND_OVER_S = 30.0
"""For one step of handing over; a worker that hangs costs a request no more than some of it."""
TEND_S = 30.0
TENDED_MAX = 500


class Injector:
    """Hands over mail for the API."""

    def __init__(self, config: Config, reach: Reach, clock: Clock) -> None:
        self.config = config
        self._reach = reach
        self._clock = clock
        self._client = Client(config.spool.base, timeout_s=HAND_OVER_S)
        self._keys = Keys(config.spool.base)
        self._running: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[Accepted]] = set()

    def new_id(self) -> QueueId:
        """Return a fresh queue id."""
        return self._client.new_id()

    def close(self) -> None:
        """Close what is open."""
        self._client.close()
        self._keys.close()

    async def send(self, one: Outgoing, user: str) -> Accepted:
        """Hand over one message; nobody will repeat it."""
        try:
            queue_id = await self._client.asubmit(one.envelope, one.content, user=user)
        except NotAccepted as error:
            raise refused(error.reply, one) from error
        except (Unavailable, TimeoutError, OSError) as error:
            raise lost(str(error)) from error
        return Accepted([Kept(queue_id, addresses(one.envelope), one.number)])

    async def send_once(
        self, scope: str, key: str, digest: bytes, make: Make, user: str
    ) -> tuple[Accepted, bool]:
        """Hand over the messages of a key, unless that was done; say also if it was."""
        name = (scope, key)
        if name in self._running:
            raise Problem(
                409, "a request with this key is being worked on", field="Idempotency-Key",
                kind="key-in-use", remedy="try again later", retry_after_s=1,
            )  # fmt: skip
        record = await self._keys.find(scope, key)
        if record is not None and record.digest != digest:
            raise Problem(
                422, "another request came with this key", field="Idempotency-Key",
                kind="key-reused", expected="the same request",
                remedy="use a new key for another request",
            )  # fmt: skip
        if record is not None and record.state in (KeyState.KEPT, KeyState.DONE):
            await self._let_go(record)
            return msgspec.json.decode(record.answer, type=Accepted), True
        if name in self._running:
            raise Problem(409, "a request with this key is being worked on", retry_after_s=1)
        self._running.add(name)
        # A task of its own: a client that goes away does not stop it half way.
        new = record or Record(scope, key, digest, self._clock.now())
        task = asyncio.create_task(self._work(new, make, user, is_known=record is not None))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._end(done, name))
        return await asyncio.shield(task), False

    async def tend(self) -> None:
        """Finish what was left, for ever: let go what is kept, drop what nobody came back for."""
        while True:
            try:
                await self.tend_once()
            except (Problem, ControlError):
                pass  # the disk or the server is not there: next time
            await asyncio.sleep(TEND_S)

    async def tend_once(self) -> None:
        """Do so once."""
        now = self._clock.now()
        records = await self._keys.unfinished(now - LIFE_S, TENDED_MAX)
        while records:
            # Side by side: a queue that does not answer keeps the others' mail from nobody.
            slots = asyncio.Semaphore(AT_ONCE_MAX)
            await asyncio.gather(*(self._tend_one(one, slots) for one in records))
            records = await self._keys.unfinished(now - LIFE_S, TENDED_MAX, records[-1])
        await self._keys.forget_old(now - LIFE_S)

    async def _tend_one(self, record: Record, slots: asyncio.Semaphore) -> None:
        async with slots:
            name = (record.scope, record.key)
            if record.state is KeyState.KEPT:
                await self._let_go(record)
                return
            if name in self._running:
                return
            # Ours while it is dropped: a request that comes again now hears 409.
            self._running.add(name)
            try:
                await self._drop(record)
            except (Problem, ControlError):
                pass  # it has gone on meanwhile, or there is no disk: next time
            finally:
                self._running.discard(name)

    # Inside.

    def _end(self, task: asyncio.Task[Accepted], name: tuple[str, str]) -> None:
        self._tasks.discard(task)
        self._running.discard(name)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left

    async def _work(self, record: Record, make: Make, user: str, *, is_known: bool) -> Accepted:
        if is_known and record.state is KeyState.DROPPED:
            record, is_known = await self._begun_anew(record), False
        messages = self._divided(await make(record.created_at), user)
        here: frozenset[str] = frozenset()
        if is_known:
            here = await self._found(record)
            if len(messages) != len(record.parts):
                # Other groups are in force now: what is there is of no use.
                record, is_known = await self._begun_anew(record), False
                here = frozenset()
        if not is_known:
            parts = tuple(
                Part(self._client.new_id(), self._choose(group, ())) for _one, group in messages
            )
            record = msgspec.structs.replace(record, parts=parts)
            await self._keys.begin(record)
        work = _Work(record)
        slots = asyncio.Semaphore(AT_ONCE_MAX)

        async def keep(index: int) -> None:
            async with slots:
                await self._keep(work, index, *messages[index], user)

        left = [i for i, part in enumerate(record.parts) if part.id not in here]
        results = await asyncio.gather(*map(keep, left), return_exceptions=True)
        if wrong := [one for one in results if isinstance(one, BaseException)]:
            await self._give_up(work.record, wrong)
        answer = Accepted(
            [
                Kept(part.id, addresses(one.envelope), one.number)
                for part, (one, _) in zip(work.record.parts, messages, strict=True)
            ]
        )
        octets = msgspec.json.encode(answer)
        kept = msgspec.structs.replace(work.record, state=KeyState.KEPT, answer=octets)
        # Commit point.
        await self._keys.change(kept, work.record)
        await self._let_go(kept)
        return answer

    async def _give_up(self, record: Record, wrong: list[BaseException]) -> None:
        """Raise what went wrong; where it is known that it failed, nothing is left of it."""
        for one in wrong:
            if not isinstance(one, Problem) or isinstance(one, Lost):
                # A queue may have kept the message. The record says where to ask.
                raise one
        await self._drop(record)
        raise wrong[0]

    async def _keep(
        self, work: _Work, index: int, one: Outgoing, group: GroupPolicy, user: str
    ) -> None:
        """Have a queue keep a message; where it refuses for now, another."""
        tried: list[int] = []
        while True:
            part = work.record.parts[index]
            refusal: Reply | None = None
            try:
                await self._client.akeep(
                    part.queue, QueueId(part.id), one.envelope, one.content, user=user
                )
                return
            except NotAccepted as error:
                refusal = error.reply
                if not refusal.is_transient:
                    raise refused(refusal, one) from error
            except Unavailable as error:
                if error.queue_id:
                    raise lost(str(error)) from error
            except (TimeoutError, OSError) as error:
                raise lost(f"queue{part.queue}: {error or 'no answer in time'}") from error
            tried.append(part.queue)
            if len(tried) >= TRIES_MAX:
                raise refused(refusal or Reply(451, "4.3.2", "no queue can be reached"), one)
            try:
                queue = self._choose(group, tried)
            except Problem:
                if refusal is not None:
                    raise refused(refusal, one) from None
                raise
            # Written before it is tried there: whoever comes again asks the right queue.
            await work.place(self._keys, index, queue)

    def _divided(
        self, messages: Sequence[Outgoing], user: str
    ) -> list[tuple[Outgoing, GroupPolicy]]:
        """Divide messages so that each belongs to one group of queues, as the queues would."""
        table = GroupTable(self.config.groups)
        origin = Provenance(user=user, listener="local")
        divided: list[tuple[Outgoing, GroupPolicy]] = []
        for one in messages:
            split = table.split(one.envelope, origin)
            for group, indexes in split:
                some = one
                if len(split) > 1:
                    recipients = tuple(one.envelope.recipients[index] for index in indexes)
                    envelope = msgspec.structs.replace(one.envelope, recipients=recipients)
                    some = msgspec.structs.replace(one, envelope=envelope)
                divided.append((some, group))
        return divided

    def _choose(self, group: GroupPolicy, without: Sequence[int]) -> int:
        """Return the number of a queue of a group, the least busy one."""
        groups = self.config.groups
        named = {queue for one in groups[:-1] for queue in one.queues}
        is_default = group.name == groups[-1].name
        for number in self._client.numbers_in_order():
            owns = number not in named if is_default else number in group.queues
            if owns and number not in without:
                return number
        raise Problem(
            503, f"no queue of group {group.name} can be reached", retry_after_s=RETRY_AFTER_S,
            remedy="see postroom status",
        )  # fmt: skip

    async def _found(self, record: Record) -> frozenset[str]:
        """Return which parts are kept, wherever; all queues must say so."""
        here: set[str] = set()
        for ids in _chunks(record.parts):
            args = MailConfirmArgs(ids, "look")
            asked = await self._reach.each("mail confirm", args, Confirmed)
            if asked.absent:
                names = ", ".join(f"queue{number}" for number in asked.absent)
                raise Problem(
                    503, f"{names} may have kept it, and cannot be asked",
                    remedy="come again with the same key", retry_after_s=RETRY_AFTER_S,
                )  # fmt: skip
            for one in asked.found.values():
                here.update(one.here)
        return frozenset(here)

    async def _let_go(self, record: Record) -> None:
        """Let go what is kept; where a queue cannot be asked, `tend` comes back to it."""
        if record.state is not KeyState.KEPT:
            return
        try:
            if await self._confirm(record.parts, drop=False):
                done = msgspec.structs.replace(record, state=KeyState.DONE)
                await self._keys.change(done, record)
        except (Problem, ControlError):
            pass

    async def _begun_anew(self, record: Record) -> Record:
        """Return the record of a request of which nothing is left."""
        if not await self._drop(record):
            raise lost("a queue that has a part of an earlier try cannot be asked")
        return msgspec.structs.replace(record, state=KeyState.BEGUN, parts=())

    async def _drop(self, record: Record) -> bool:
        """Drop what is kept of a request that was not accepted; its record goes with it."""
        dropped = msgspec.structs.replace(record, state=KeyState.DROPPED)
        # From here on nobody can say that it is kept, whoever else goes on with it.
        await self._keys.change(dropped, record)
        try:
            is_done = await self._confirm(record.parts, drop=True)
        except ControlError:
            is_done = False
        if is_done:
            await self._keys.forget(dropped)
        return is_done

    async def _confirm(self, parts: Sequence[Part], *, drop: bool) -> bool:
        """Confirm parts, or drop them; say whether none is left that is not confirmed."""
        by_queue: dict[int, list[Part]] = {}
        for part in parts:
            by_queue.setdefault(part.queue, []).append(part)
        done = 0
        for queue, some in by_queue.items():
            for ids in _chunks(some):
                args = MailConfirmArgs(ids, "drop" if drop else "confirm")
                try:
                    changed = await self._reach.queue(queue, "mail confirm", args, Confirmed)
                    done += changed.count
                except ControlError:
                    continue
        if done == len(parts):
            return True
        # Moved to another queue, handled by an operator, or confirmed before: look for them.
        for ids in _chunks(parts):
            args = MailConfirmArgs(ids, "drop" if drop else "confirm")
            asked = await self._reach.each("mail confirm", args, Confirmed)
            if asked.absent or any(one.left for one in asked.found.values()):
                return False
        return True


class _Work:
    """The record of one request while its parts find their queues."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._lock = asyncio.Lock()

    async def place(self, keys: Keys, index: int, queue: int) -> None:
        """Write that a part goes to another queue."""
        async with self._lock:
            parts = list(self.record.parts)
            parts[index] = Part(parts[index].id, queue)
            record = msgspec.structs.replace(self.record, parts=tuple(parts))
            await keys.change(record, self.record)
            self.record = record


def _chunks(parts: Sequence[Part], size: int = 500) -> list[tuple[QueueId, ...]]:
    ids = [QueueId(part.id) for part in parts]
    return [tuple(ids[start : start + size]) for start in range(0, len(ids), size)]
