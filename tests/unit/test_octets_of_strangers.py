"""What fuzzing found: octets that nobody thought of are refused in the words of their reader."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from postroom.client.header import Header
from postroom.config.addresses import as_domain
from postroom.control import protocol
from postroom.control.protocol import ControlError
from postroom.core.clock import ManualClock
from postroom.core.message import Envelope, Recipient
from postroom.core.terms import Terms, format_moment, parse_moment
from postroom.ingress import local_protocol
from postroom.ingress.local import envelope_fault
from postroom.observe.events import EventList
from postroom.peer import protocol as peer
from postroom.peer.frames import FrameError
from postroom.routing.names import normalise
from postroom.smtp.server_terms import TermsOffered, fault_of
from postroom.spool.embedded import records
from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.records import segment_number
from postroom.spool.embedded.store import open_store
from postroom.spool.errors import QueueUnusable
from postroom.spool.policy import SpoolPolicy

DEEP, DEEP_PACKED = b"[" * 100_000, b"\x91" * 100_000


@pytest.mark.parametrize("raw", [b'"\xce"', DEEP, b'{"\xff":1}'])
def test_answers_with_odd_octets_are_control_errors(raw: bytes) -> None:
    with pytest.raises(ControlError):
        protocol.decode_value(protocol.decode_answer(b'{"ok":true,"result":' + raw + b"}").result)
    with pytest.raises(ControlError):
        protocol.decode_request(b'{"command":' + raw + b"}")


_REPLY = b"\x81\xa5reply\x83\xa4code\xcd\x01\xc3\xa8enhanced\xa1\xce\xa4text\xa0"


@pytest.mark.parametrize(
    ("decode", "octets", "error"),
    [
        (peer.decode_request, b"\x81\xa4type\xa1\xce", FrameError),
        (peer.decode_answer, _REPLY, FrameError),
        (peer.decode_answer, b"\x81\xa1x" + DEEP_PACKED, FrameError),
        (local_protocol.decode_submission, b"\x81\xa2id\xa1\xce", local_protocol.FrameError),
        (local_protocol.decode_answer, _REPLY, local_protocol.FrameError),
        (local_protocol.decode_answer, b"\x81\xa1x" + DEEP_PACKED, local_protocol.FrameError),
    ],
)
def test_frames_with_odd_octets_are_frame_errors(
    decode: Callable[[bytes], object], octets: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        decode(octets)


@pytest.mark.parametrize("name", ["stra\u00dfe.example", "b\u00fccher.example", "\uff4dx.example"])
def test_a_name_of_the_configuration_is_the_name_that_is_routed_by(name: str) -> None:
    assert as_domain(name) == normalise(name)


def test_moments_that_no_dsn_can_tell_of_are_not_taken() -> None:
    offered = TermsOffered(3600.0, 9, 60.0)
    for wrong in (1e300, -1.0, 2.6e11, float("nan")):
        assert fault_of(Terms(release_at=wrong), offered, 1e9) is not None
        assert fault_of(Terms(deliver_by=wrong, by_mode="N"), offered, 1e9) is not None
    assert parse_moment(format_moment(parse_moment("0262-12-01T08:00:00Z"))) < 0


@pytest.mark.parametrize("notify", [-1, 16, 2**63])
def test_a_notify_that_no_table_holds_is_not_taken(notify: int) -> None:
    fault = envelope_fault(Envelope("a@b", (Recipient("c@d", notify),)), 10)
    assert fault is not None and fault.code == 501


def test_an_address_that_is_no_utf8_is_a_mistake_of_the_message() -> None:
    with pytest.raises(ValueError, match="not UTF-8"):
        Header(b"To: a\xff@b.example\r\n\r\n").recipients()
    assert not local_protocol.is_address("a\udcff@b.example")


@pytest.mark.parametrize(
    "name", ["9.seg", "99999999999999999999.seg", "\u0663.seg", ".seg", "00000001.seg.old", "x"]
)
def test_a_file_of_another_name_is_no_segment(name: str) -> None:
    assert segment_number(name) is None
    assert segment_number(records.segment_name(7)) == 7
    assert segment_number(records.segment_name(10**9)) == 10**9


def test_changes_of_a_later_version_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    queue, identity, changes = tmp_path / "queue1", uuid.UUID(int=9), b'[{"type":"pin"}]'
    create_queue(RealDisk(), queue, identity)
    begin = records.pack_segment_header(identity, 1, (0, 0))
    group = records.pack_group_header(identity, 1, len(begin), changes) + changes
    segment = queue / "df" / records.segment_name(1)
    segment.write_bytes(begin + group)
    # Where a segment follows, the end of the one before it is sure.
    after = records.pack_segment_header(identity, 2, (1, len(begin + group)))
    (queue / "df" / records.segment_name(2)).write_bytes(after)

    async def opened() -> None:
        policy = SpoolPolicy(base=str(tmp_path), reserve_octets=0)
        open_store(queue, policy, events=EventList(), clock=ManualClock(1e9), inline=True)

    with pytest.raises(QueueUnusable, match="does not know"):
        asyncio.run(opened())
    assert segment.read_bytes() == begin + group
