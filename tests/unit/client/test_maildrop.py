"""The maildrop: mail left while no daemon runs is picked up once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroom.core.clock import SystemClock
from postroom.core.ids import encode
from postroom.core.message import Envelope, Recipient
from postroom.core.reply import Reply
from postroom.observe.events import ContentDamaged, EventList
from postroom.spool.maildrop import Maildrop, MaildropPickup
from tests.unit.client.test_client import Keeper

ENVELOPE = Envelope("a@example.org", (Recipient("b@example.net"),))
IDS = [encode(1_700_000_000_000 + number, 3, 0) for number in range(40)]


def pickup(maildrop: Maildrop, keeper: Keeper, queue: str = "queue1") -> MaildropPickup:
    return MaildropPickup(maildrop, queue, keeper, EventList(), SystemClock())


def test_what_was_left_is_accepted_under_its_id_and_taken_away(tmp_path: Path) -> None:
    maildrop, keeper = Maildrop(tmp_path), Keeper()
    for queue_id in IDS:
        maildrop.leave(queue_id, ENVELOPE, b"Subject: x\r\n\r\n", "anna")
    assert maildrop.count() == len(IDS)
    assert asyncio.run(pickup(maildrop, keeper).sweep("h.example")) == len(IDS)
    assert sorted(keeper.kept) == IDS and maildrop.count() == 0
    envelope, content, provenance = keeper.kept[IDS[0]]
    assert envelope == ENVELOPE and provenance.user == "anna"
    assert content.startswith(b"Received: by h.example") and content.endswith(b"\r\n\r\n")
    assert asyncio.run(pickup(maildrop, keeper).sweep("h.example")) == 0


def test_a_sweep_goes_on_until_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.spool.maildrop.SWEEP_MESSAGES_MAX", 7)
    maildrop, keeper = Maildrop(tmp_path), Keeper()
    for queue_id in IDS:
        maildrop.leave(queue_id, ENVELOPE, b"x\r\n", "anna")
    assert asyncio.run(pickup(maildrop, keeper).sweep("h.example")) == len(IDS)


def test_files_are_private_and_half_written_ones_are_not_seen(tmp_path: Path) -> None:
    maildrop = Maildrop(tmp_path)
    maildrop.leave(IDS[0], ENVELOPE, b"x\r\n", "anna")
    assert (maildrop.new / IDS[0]).stat().st_mode & 0o777 == 0o600
    assert maildrop.new.stat().st_mode & 0o777 == 0o700
    (maildrop.tmp / IDS[1]).write_bytes(b"{")
    assert maildrop.count() == 1


def test_a_queue_that_is_full_leaves_the_mail_where_it_is(tmp_path: Path) -> None:
    maildrop, keeper = Maildrop(tmp_path), Keeper(refusal=Reply(452, "4.3.1", "full"))
    maildrop.leave(IDS[0], ENVELOPE, b"x\r\n", "anna")
    assert asyncio.run(pickup(maildrop, keeper).sweep("h")) == 0
    broken = Keeper(failure=Reply(451, "4.3.0", "disk"))
    assert asyncio.run(pickup(maildrop, broken).sweep("h")) == 0
    assert maildrop.count() == 1


def test_a_claim_belongs_to_one_queue_until_that_queue_is_gone(tmp_path: Path) -> None:
    maildrop = Maildrop(tmp_path)
    maildrop.leave(IDS[0], ENVELOPE, b"x\r\n", "anna")
    broken = Keeper(failure=Reply(451, "4.3.0", "disk"))
    asyncio.run(pickup(maildrop, broken, "queue2").sweep("h"))
    other = Keeper()
    asyncio.run(pickup(maildrop, other, "queue1").sweep("h", ("queue1", "queue2")))
    assert not other.kept
    asyncio.run(pickup(maildrop, other, "queue1").sweep("h", ("queue1",)))
    assert list(other.kept) == [IDS[0]]


def test_a_queue_without_room_claims_nothing(tmp_path: Path) -> None:
    maildrop = Maildrop(tmp_path)
    maildrop.leave(IDS[0], ENVELOPE, b"x\r\n", "anna")
    full = Keeper(refusal=Reply(452, "4.3.1", "full"))
    assert asyncio.run(pickup(maildrop, full, "queue2").sweep("h")) == 0
    other = Keeper()
    asyncio.run(pickup(maildrop, other, "queue1").sweep("h", ("queue1", "queue2")))
    assert list(other.kept) == [IDS[0]]


def test_a_damaged_file_is_set_aside_and_told(tmp_path: Path) -> None:
    maildrop, keeper = Maildrop(tmp_path), Keeper()
    for queue_id in IDS[:3]:
        maildrop.leave(queue_id, ENVELOPE, b"Subject: x\r\n\r\n", "anna")
    path = maildrop.new / IDS[1]
    path.write_bytes(path.read_bytes().replace(b"Subject", b"Subjekt"))
    events = EventList()
    sweep = MaildropPickup(maildrop, "queue1", keeper, events, SystemClock()).sweep("h")
    asyncio.run(sweep)
    assert sorted(keeper.kept) == [IDS[0], IDS[2]]
    assert (maildrop.damaged / IDS[1]).is_file()
    assert [type(event) for event in events.events] == [ContentDamaged]


def test_a_message_taken_over_keeps_its_time_of_arrival_and_its_hold(tmp_path: Path) -> None:
    maildrop, keeper = Maildrop(tmp_path), Keeper()
    maildrop.leave(IDS[0], ENVELOPE, b"x\r\n", "anna", arrived_at=1234.5, hold="old hold")
    asyncio.run(pickup(maildrop, keeper).sweep("h"))
    assert keeper.terms[IDS[0]] == (1234.5, "old hold")


def test_a_time_of_arrival_that_is_to_come_is_now(tmp_path: Path) -> None:
    maildrop, keeper = Maildrop(tmp_path), Keeper()
    maildrop.leave(IDS[0], ENVELOPE, b"x\r\n", "anna", arrived_at=9e9)
    asyncio.run(pickup(maildrop, keeper).sweep("h"))
    assert keeper.terms[IDS[0]][0] < 9e9
