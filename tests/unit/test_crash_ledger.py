"""The ledger of the crash test finds what it is there to find."""

from __future__ import annotations

from postroom.sink.recorder import Received
from tests.support.ledger import MARK, Kill, Ledger, joined

CONTENT = MARK + b"m1\r\n\r\nhello\r\n"


def taken(at: float, *recipients: str, content: bytes = b"Received: x\r\n" + CONTENT) -> Received:
    text = content.decode("latin-1")
    return Received("s", 1, at, "c", "h", "m1@back.example", "", recipients, (), len(text), text)


def ledger_with(*recipients: str) -> Ledger:
    ledger = Ledger()
    ledger.send("m1", CONTENT, recipients).acknowledged = True
    return ledger


def announced(recipient: str) -> list[dict[str, str]]:
    return [{"event": "delivered", "recipient": recipient, "time": "10.0"}]


def test_a_message_that_arrives_whole_is_no_violation() -> None:
    found = ledger_with("a@x.example").check([taken(1.0, "a@x.example")])
    assert (found.violations, found.acknowledged, found.duplicates) == ([], 1, 0)


def test_an_acknowledged_recipient_that_never_arrives_is_lost() -> None:
    found = ledger_with("a@x.example", "b@x.example").check([taken(1.0, "a@x.example")])
    assert found.violations == ["m1: acknowledged and lost: b@x.example"]


def test_changed_content_is_found() -> None:
    damaged = taken(1.0, "a@x.example", content=b"Received: x\r\n" + CONTENT[:-3] + b"p\r\n")
    assert ledger_with("a@x.example").check([damaged]).violations == ["m1: its content was changed"]


def test_a_refused_recipient_without_a_dsn_is_lost() -> None:
    found = ledger_with("a@refused.example").check([])
    assert found.violations == ["m1: acknowledged and lost: m1@back.example"]


def test_a_second_delivery_is_allowed_only_for_a_kill() -> None:
    twice = [taken(1.0, "a@x.example"), taken(2.0, "a@x.example")]
    assert ledger_with("a@x.example").check(twice).violations == [
        "a@x.example: sent again without a kill"
    ]
    ledger = ledger_with("a@x.example")
    ledger.kills.append(Kill(1.1, "group", in_flight_max=1, until=1.2))
    found = ledger.check(twice)
    assert (found.violations, found.duplicates, ledger.kills[0].doubled) == ([], 1, 1)


def test_what_was_announced_as_delivered_is_never_sent_again() -> None:
    ledger = ledger_with("a@x.example")
    ledger.kills.append(Kill(10.1, "group", in_flight_max=1, until=10.2))
    ledger.announce(announced("a@x.example"), float)
    found = ledger.check([taken(9.9, "a@x.example"), taken(11.0, "a@x.example")])
    assert "a@x.example: sent again after it was durably delivered" in found.violations


def test_more_duplicates_than_were_in_flight_are_a_violation() -> None:
    ledger = ledger_with("a@x.example", "b@x.example")
    ledger.kills.append(Kill(1.1, "group", in_flight_max=1, until=1.2))
    found = ledger.check(
        [
            taken(1.0, "a@x.example"), taken(1.0, "b@x.example"),
            taken(2.0, "a@x.example"), taken(2.0, "b@x.example"),
        ]
    )  # fmt: skip
    assert len(found.violations) == 1
    assert "doubled 2 transactions; at most 1 " in found.violations[0]


def test_a_request_that_was_accepted_twice_is_found() -> None:
    ledger = ledger_with("h1-0@x.example")
    ledger.once = "h"
    for queue_id in ("a", "a", "b"):
        ledger.announce([announced("h1-0@x.example")[0] | {"id": queue_id}], float)
    found = ledger.check([taken(1.0, "h1-0@x.example")])
    assert "h1-0@x.example: its request was accepted twice" in found.violations


def test_what_the_event_stream_alone_calls_delivered_must_have_been_received() -> None:
    ledger = ledger_with("a@x.example")
    ledger.told = {"a@x.example", "b@x.example"}
    found = ledger.check([taken(1.0, "a@x.example")])
    assert found.violations == ["b@x.example: delivered by the event stream, never received"]


def test_a_settlement_that_waited_for_a_full_disk_is_not_the_slowest_of_all() -> None:
    ledger = ledger_with("a@x.example")
    ledger.announce(announced("a@x.example"), float)
    assert ledger.check([taken(4.0, "a@x.example")]).slowest_settlement_s == 6.0
    ledger.disturbed = [(3.0, 5.0)]
    assert ledger.check([taken(4.0, "a@x.example")]).slowest_settlement_s == 0.0


def test_a_kill_on_a_full_disk_may_double_what_waited_for_room() -> None:
    ledger = Ledger()
    addresses = [f"r{number}@x.example" for number in range(4)]
    ledger.send("m1", CONTENT, tuple(addresses))
    once = [taken(1.0 + number, address) for number, address in enumerate(addresses)]
    again = [taken(20.0, address) for address in addresses]
    ledger.kills.append(Kill(5.0, "group", in_flight_max=1, until=6.0))
    assert any("doubled 4" in text for text in ledger.check(once + again).violations)
    ledger.kills[0] = Kill(5.0, "group", in_flight_max=1, until=6.0, since=1.5)
    assert ledger.check(once + again).violations == []


def test_spans_that_overlap_are_one() -> None:
    assert joined([(5, 6), (1, 3), (2, 4)]) == [(1, 4), (5, 6)]
