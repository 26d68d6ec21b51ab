"""Gathering an overview: the master and all workers asked, those that do not answer named.

Two ways of the same: `gather` blocks, for the command line; `gather_soon` is for programs with an
event loop. Workers are asked at the same time; one that has not answered after ANSWER_S, or could
not, is in `silent`, and its row on the status board is what is shown of it.

Called by: cli.top, cli.health, the API.  Raises: ServerUnavailable, ControlError of the master.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from postroom.control.answers import QueueStatus
from postroom.control.client import (
    AsyncControlClient,
    ControlClient,
    NoAnswer,
    ServerUnavailable,
)
from postroom.control.commands import OverviewArgs
from postroom.control.joining import join
from postroom.control.overview import Overview, ServerView
from postroom.control.paths import RunPaths
from postroom.control.protocol import ControlError
from postroom.control.troubles import troubles
from postroom.core.clock import Clock
from postroom.engine.views import QueueOverview

ANSWER_S = 2.0
"""What a worker takes that is alive; more would make an overview of the others late."""
MASTER_ANSWER_S = 10.0
LEAST_WAIT_S = 0.05
ANY = OverviewArgs()


def gather(base: str, clock: Clock, args: OverviewArgs = ANY, only: Sequence[int] = ()) -> Overview:
    """Ask the server at a base and return the overview, of `only` some queues where named."""
    paths = RunPaths(base)
    with ControlClient(paths.control, MASTER_ANSWER_S) as master:
        server: ServerView = master.call("overview server", None, ServerView)
    if only:
        server = _narrowed(server, only)
    asked: dict[int, ControlClient] = {}
    answers: list[QueueOverview] = []
    silent: dict[int, str] = {}
    until = clock.now() + ANSWER_S
    try:
        for number in _present(server.status.queues):
            try:
                asked[number] = ControlClient(paths.queue(number), ANSWER_S)
                asked[number].ask("overview", args)
            except NoAnswer:
                silent[number] = ""
            except ServerUnavailable:
                asked.pop(number, None)  # it is starting, or has just ended: the board knows
        for number, client in asked.items():
            if number in silent:
                continue
            client.wait_at_most(max(LEAST_WAIT_S, until - clock.now()))
            try:
                answers.append(client.result(QueueOverview))
            except NoAnswer:
                silent[number] = ""
            except ServerUnavailable:
                pass
            except ControlError as error:
                silent[number] = str(error)  # its store cannot be read, or a defect
    finally:
        for client in asked.values():
            client.close()
    return _judged(server, answers, silent, args)


async def gather_soon(base: str, args: OverviewArgs = ANY) -> Overview:
    """Ask the server at a base and return the overview; for who has an event loop."""
    import asyncio  # the command line starts faster without it

    paths = RunPaths(base)
    async with AsyncControlClient(paths.control, MASTER_ANSWER_S) as master:
        server: ServerView = await master.call("overview server", None, ServerView)
    silent: dict[int, str] = {}

    async def ask(number: int) -> QueueOverview | None:
        try:
            async with AsyncControlClient(paths.queue(number), ANSWER_S) as client:
                answer: QueueOverview = await client.call("overview", args, QueueOverview)
                return answer
        except ServerUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                silent[number] = ""
        except ControlError as error:
            silent[number] = str(error)
        return None

    answers = await asyncio.gather(*map(ask, _present(server.status.queues)))
    return _judged(server, [one for one in answers if one is not None], silent, args)


def _narrowed(server: ServerView, only: Sequence[int]) -> ServerView:
    queues = tuple(one for one in server.status.queues if one.queue in only)
    status = msgspec.structs.replace(server.status, queues=queues)
    return msgspec.structs.replace(server, status=status)


def _present(queues: Iterable[QueueStatus]) -> list[int]:
    return [one.queue for one in queues if one.pid]


def _judged(
    server: ServerView, answers: list[QueueOverview], silent: dict[int, str], args: OverviewArgs
) -> Overview:
    overview = join(server, answers, silent, order=args.order, limit=args.limit)
    return msgspec.structs.replace(overview, troubles=troubles(overview))
