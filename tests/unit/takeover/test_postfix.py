"""Queue files of Postfix, made record by record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.message import Notify, Recipient
from postroom.takeover.postfix import parse
from postroom.takeover.value import Unreadable


def record(kind: str, value: bytes | str = b"") -> bytes:
    octets = value.encode() if isinstance(value, str) else value
    length, groups = len(octets), bytearray()
    while True:
        groups.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            return kind.encode() + bytes(groups) + octets


def queue_file(*recipients: bytes, extracted: bytes = b"", sender: str = "a@x.org") -> bytes:
    return b"".join(
        (
            record("C", f"{10:15d} {200:15d} {1:15d} {0:15d}"),
            record("T", "1700000000 250000"),
            record("A", "envelope_id=id+1"),
            record("A", "ret_flags=2"),
            record("S", sender),
            *recipients,
            record("M"),
            record("N", "Subject: x"),
            record("N"),
            record("L", b"x" * 300),
            record("N", b"\xe9 end"),
            record("X"),
            extracted,
            record("E"),
        )
    )


def test_envelope_and_content_are_read_and_done_recipients_are_left_out() -> None:
    message = parse(
        queue_file(
            record("O", "B@y.org"), record("R", "b@y.org"),
            record("A", "dsn_orig_rcpt=rfc822;old@y.org"), record("A", "notify_flags=12"),
            record("D", "done@y.org"),
            record("A", "dsn_orig_rcpt=rfc822;d@y.org"), record("A", "notify_flags=6"),
            record("R", "c@y.org"),
            extracted=record("R", "found@y.org"),
        ),
        "ABC",
    )  # fmt: skip
    assert message.arrived_at == 1700000000.25
    assert (message.reverse_path, message.envid, message.ret) == ("a@x.org", "id+1", "HDRS")
    assert message.recipients == (
        Recipient("b@y.org"),
        Recipient("c@y.org", int(Notify.SUCCESS | Notify.FAILURE), "rfc822;d@y.org"),
        Recipient("found@y.org"),
    )
    assert message.done == 1
    assert message.content == b"Subject: x\r\n\r\n" + b"x" * 300 + b"\xe9 end\r\n"


def test_what_a_filter_cancelled_is_no_recipient_and_not_done() -> None:
    message = parse(queue_file(record("$", "gone@y.org"), record("R", "b@y.org")), "A")
    assert [one.address for one in message.recipients] == ["b@y.org"] and message.done == 0


def test_a_pointer_is_followed_and_a_pointer_to_nowhere_is_passed_over() -> None:
    start = record("S", "a@x.org") + record("p", f"{0:15d}")
    jump = len(start) + len(record("p", f"{0:15d}"))
    tail = record("M") + record("N", "body") + record("X") + record("E")
    octets = start + record("p", f"{jump + len(record('R', 'old@y.org')):15d}")
    octets += record("R", "old@y.org") + record("R", "new@y.org") + tail
    message = parse(octets, "A")
    assert [one.address for one in message.recipients] == ["new@y.org"]
    assert message.content == b"body\r\n"


def test_a_redirection_replaces_all_recipients() -> None:
    octets = queue_file(record("R", "b@y.org"), extracted=record(">", "other@z.org"))
    assert parse(octets, "A").recipients == (Recipient("other@z.org"),)


def test_pointers_in_a_circle_and_out_of_the_file_are_told() -> None:
    start = record("S", "a@x.org")
    for target in (1 << 40, len(start)):
        with pytest.raises(Unreadable, match=r"circle|out of the file"):
            parse(start + record("p", f"{target:15d}"), "A")


@pytest.mark.parametrize("octets", [b"", b"hello", queue_file()[:-2], queue_file()[:50], b"R\xff"])
def test_what_is_no_whole_queue_file_is_told(octets: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(octets, "A")


@given(st.binary(max_size=400))
def test_no_octets_raise_anything_else(octets: bytes) -> None:
    try:
        parse(octets, "A")
    except Unreadable:
        pass


@given(st.data())
def test_no_damage_to_a_file_raises_anything_else(data: st.DataObject) -> None:
    octets = bytearray(queue_file(record("R", "b@y.org"), record("p", f"{0:15d}")))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    # A pointer may now lead back: that it ends is what counts.
    try:
        parse(bytes(octets), "A")
    except Unreadable:
        pass
