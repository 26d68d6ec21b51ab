"""The conversation with the queues about one message, as steps for any kind of I/O.

A generator yields steps and is sent their results; the blocking and the asyncio driver
only carry them out, so there is one place that decides where a message goes next:

1. a queue that cannot be reached, or refuses for now (4xx): the next one is tried;
2. a queue that refuses for good (5xx): that is the answer;
3. a queue lost after it was sent octets: the same queue is asked again with the same
   queue id, which makes no second message; no other queue is tried, for it might.

Called by: client.client.  Raises: NotAccepted, Unavailable.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postroom.client.errors import NotAccepted, Unavailable
from postroom.core.ids import QueueId
from postroom.core.reply import Reply
from postroom.ingress.local_protocol import (
    ANSWER_OCTETS_MAX,
    LENGTH_OCTETS,
    Answer,
    FrameError,
    Submission,
    decode_answer,
    encode,
)

RECOVERY_PAUSES_S = (0.05, 0.2, 0.5, 1.0, 2.0, 2.0, 4.0)
"""Waits between tries to reach a queue that was lost: its worker starts again meanwhile."""


@dataclass(slots=True, frozen=True)
class Connect:
    """Give a connection to this socket: a kept one, or a new one where `fresh`."""

    path: Path
    fresh: bool


@dataclass(slots=True, frozen=True)
class Send:
    """Send these octets."""

    connection: socket.socket
    parts: tuple[bytes, ...]


@dataclass(slots=True, frozen=True)
class Receive:
    """Receive exactly so many octets; EOF is an OSError."""

    connection: socket.socket
    octets: int


@dataclass(slots=True, frozen=True)
class Finish:
    """The connection is no longer needed; `reusable` says whether it may be kept."""

    connection: socket.socket
    path: Path
    reusable: bool


@dataclass(slots=True, frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Step = Connect | Send | Receive | Finish | Pause


def hand_over(
    queues: Sequence[Path], submission: Submission, content: bytes
) -> Generator[Step, Any, str]:
    """Hand one message to the first of `queues` that takes it; return its queue id."""
    frame, queue_id = encode(submission), QueueId(submission.id)
    refusal: Reply | None = None
    for path in queues:
        try:
            connection = yield Connect(path, fresh=False)
        except OSError:
            continue
        answer = yield from _ask(connection, path, frame, content)
        if answer is None:
            answer = yield from _recover(path, frame, content, queue_id)
        if answer.id:
            return answer.id
        refusal = answer.reply or Reply(451, "4.3.0", "the queue gave no reason")
        if not refusal.is_transient:
            break
    if refusal is not None:
        raise NotAccepted(refusal)
    if not queues:
        raise Unavailable("no queue is open: is the daemon running? (postroom serve)")
    raise Unavailable(f"none of {len(queues)} queues can be reached (postroom status)")


def _ask(
    connection: socket.socket, path: Path, frame: bytes, content: bytes
) -> Generator[Step, Any, Answer | None]:
    """Submit over one connection; None where it was lost."""
    answer: Answer | None = None
    try:
        try:
            yield Send(connection, (frame, content))
        except OSError:
            # A queue that refuses to listen further may still have said why.
            pass
        length = int.from_bytes((yield Receive(connection, LENGTH_OCTETS)), "big")
        if length > ANSWER_OCTETS_MAX:
            raise FrameError(f"an answer of {length} octets is too long")
        answer = decode_answer((yield Receive(connection, length)))
    except OSError:
        pass
    finally:
        yield Finish(connection, path, reusable=answer is not None)
    return answer


def _recover(
    path: Path, frame: bytes, content: bytes, queue_id: QueueId
) -> Generator[Step, Any, Answer]:
    """Ask the queue that was lost again, until it answers or patience ends."""
    for pause in (0.0, *RECOVERY_PAUSES_S):
        if pause:
            yield Pause(pause)
        try:
            connection = yield Connect(path, fresh=True)
        except OSError:
            continue
        answer = yield from _ask(connection, path, frame, content)
        if answer is not None:
            return answer
    raise Unavailable(
        f"the queue was lost before it answered; it may have kept the message as {queue_id}",
        queue_id,
    )
