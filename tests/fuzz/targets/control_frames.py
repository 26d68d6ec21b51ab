"""Lines and frames between our own processes, and from programs of this machine.

Input: which of them, then octets: the control protocol's requests and answers (as type of a
command's arguments too), frames between workers, submissions of the local intake, commands of
the master's link.

1. What is no request is refused by the error of its protocol, never by another exception.
2. Frames are the same however they are cut, and no more is kept than was announced and allowed.
3. What is decoded is encoded to something that is decoded to the same.
"""

from __future__ import annotations

import msgspec

from postroom.control import protocol
from postroom.control.commands import COMMANDS
from postroom.control.protocol import ControlError
from postroom.control.server import decode_args
from postroom.ingress import local_protocol
from postroom.peer import protocol as peer
from postroom.peer.frames import FrameError, FrameReader
from tests.fuzz.draw import Draw
from tests.fuzz.target import Target, spelt


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    (_request, _answer, _frames, _submission, _local_answer)[draw.number(4)](draw)


def _request(draw: Draw) -> None:
    command = draw.choice(COMMANDS)
    line = draw.rest()
    try:
        request = protocol.decode_request(line)
    except ControlError as error:
        assert error.code == protocol.Code.USAGE and error.error
        request = None
    raw = msgspec.Raw(line) if request is None else request.args
    try:
        args = decode_args(command, raw)
    except ControlError as error:
        assert error.code == protocol.Code.USAGE and command.name in error.error
        return
    encoded = protocol.encode_request(command.name, args)
    assert decode_args(command, protocol.decode_request(encoded).args) == args


def _answer(draw: Draw) -> None:
    line = draw.rest()
    try:
        answer = protocol.decode_answer(line)
        for raw in (answer.item, answer.result):
            protocol.decode_value(raw)
            protocol.decode_value(raw, dict[str, int])
    except ControlError as error:
        assert isinstance(error.error, str)


def _frames(draw: Draw) -> None:
    size = 1 + draw.number(40)
    octets = draw.rest()
    whole = _cut([octets])
    assert _cut([octets[at : at + size] for at in range(0, len(octets), size)]) == whole
    for head, _content in whole[0]:
        for decode in (peer.decode_request, peer.decode_answer):
            try:
                value = decode(head)
            except FrameError:
                continue
            assert decode(peer.encode(value)) == value


def _cut(pieces: list[bytes]) -> tuple[list[tuple[bytes, bytes]], bool]:
    reader, found, given = FrameReader(), [], 0
    for piece in pieces:
        given += len(piece)
        try:
            found += reader.feed(piece)
        except FrameError:
            # What was whole before it in the same piece is lost with the connection.
            return [], True
        kept = len(reader._start) + sum(map(len, reader._pieces)) + len(reader._head or b"")
        assert kept <= given, "more is kept than came"
    return found, False


def _submission(draw: Draw) -> None:
    octets = draw.rest()
    try:
        value = local_protocol.decode_submission(octets)
    except local_protocol.FrameError:
        return
    assert value.size_octets >= 0
    for one in value.envelope.recipients:
        if local_protocol.is_address(one.address):
            assert "\r" not in one.address and "\n" not in one.address
    again = local_protocol.encode(value)[local_protocol.LENGTH_OCTETS :]
    assert local_protocol.decode_submission(again) == value


def _local_answer(draw: Draw) -> None:
    try:
        value = local_protocol.decode_answer(draw.rest())
    except local_protocol.FrameError:
        return
    again = local_protocol.encode(value)[local_protocol.LENGTH_OCTETS :]
    assert local_protocol.decode_answer(again) == value


_ENVELOPE = {"reverse_path": "a@b", "recipients": [{"address": "c@d", "notify": 2}]}
_SUBMISSION = msgspec.msgpack.encode({"envelope": _ENVELOPE, "size_octets": 3, "id": "0" * 16})
_LET_GO = msgspec.msgpack.encode({"type": "let-go", "origin": ["q", 1], "ids": ["0" * 16]})
TARGET = Target(
    "control-frames",
    try_one,
    ["postroom.control.protocol", "postroom.peer", "postroom.ingress.local_protocol"],
    seeds=[
        b'\x00\x05{"command":"mail list","args":{"filter":["all"],"limit":3}}\n',
        b'\x01{"ok":true,"result":{"a":1}}\n',
        b'\x01{"ok":false,"error":"x","hint":"y","code":"usage"}\n',
        b"\x02\x03" + len(_LET_GO).to_bytes(4, "big") + b"\0\0\0\x02" + _LET_GO + b"ab",
        b"\x02\x00" + b"\xff" * 9,
        b"\x03" + _SUBMISSION,
        b"\x04"
        + msgspec.msgpack.encode({"id": "", "reply": {"code": 451, "enhanced": "", "text": "x"}}),
    ],
    words=spelt(
        r'{"command": | "args": | [[[[[[[[ | {"a": | \xff | \\ud800 | 1e999 | null'
        r' | {"ok":true,"item": | \x84\xa8envelope | \xc1 | \xdd\xff\xff\xff\xff'
        r" | \xdb\x7f\xff\xff\xff | \x00\x00\x00\x01 | 99999999999999999999 | hand-over"
        r" | arrive | let-go | ask | reverse_path | recipients"
    ),
)
