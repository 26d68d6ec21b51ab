"""The link between master, workers and companions: what either end may be told.

Input: which end, how the stream is cut, then its octets.

1. A message, the end, or LinkError: never another exception, and nothing is read past a frame that
   is no message.
2. Cut anywhere, a stream gives the same messages.
3. What was received is sent to what is received the same.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec

from postroom.supervisor import link
from postroom.supervisor.link import Link, LinkError
from tests.fuzz.draw import Draw
from tests.fuzz.target import Target, spelt

_DECODERS = (link._from_master, link._from_worker, link._to_companion)
_NO_WRITER = cast(asyncio.StreamWriter, None)
"""Nothing is sent here."""
MESSAGES_MAX = 50


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    decoder = draw.choice(_DECODERS)
    size = 1 + draw.number(40)
    stream = draw.rest()
    whole = asyncio.run(_received([stream], decoder))
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert asyncio.run(_received(pieces, decoder)) == whole
    again = [_framed(one) for one in whole if not isinstance(one, str)]
    assert asyncio.run(_received(again, decoder)) == whole[: len(again)]


async def _received(pieces: list[bytes], decoder: msgspec.msgpack.Decoder[Any]) -> list[Any]:
    """Return what comes of a stream; a last element "error" where it ends with no message."""
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    end, found = Link(reader, _NO_WRITER, decoder), []
    while len(found) < MESSAGES_MAX:
        try:
            message = await end.receive()
        except LinkError as error:
            assert str(error)
            return [*found, "error"]
        if message is None:
            assert await end.receive() is None, "it is gone for ever"
            return found
        found.append(message)
    return found


def _framed(message: Any) -> bytes:
    frame = link._encoder.encode(message)
    return link._LENGTH.pack(len(frame)) + frame


def _seed(end: int, *messages: Any) -> bytes:
    return bytes((end, 7)) + b"".join(map(_framed, messages))


TARGET = Target(
    "worker-link",
    try_one,
    ["postroom.supervisor.link", "postroom.shaping.ledger", "postroom.shaping.lessons"],
    seeds=[
        _seed(0, link.Stop(), link.SetState("held")),  # type: ignore[arg-type]
        _seed(0, {"type": "granted", "grants": [[["site", "c", "s"], 1, 2, 3, 4.0, True]]}),
        _seed(1, {"type": "claimed", "claims": [[["site", "c", "s"], 1, 2, 3, 4, 5.0]]}),
        _seed(1, link.Ready()),
        _seed(2, link.Stop()),
        b"\x01\x00\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\x00\x02\xc1\xc1",
    ],
    words=spelt(
        r"\x00\x00\x00\x01 | \xdd\xff\xff\xff\xff | \xdb\x7f\xff\xff\xff | \xc1 | \xc0 | \xa4type"
        r" | granted | claimed | host-found | learned | prepared | begin | \xcb\x7f\xf8\0\0\0\0\0\0"
    ),
)
