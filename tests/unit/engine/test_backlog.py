"""What waits in the store is found again, also where it was left while a page was read."""

from __future__ import annotations

from postroom.core.ids import QueueId
from postroom.engine.backlog import Backlog
from postroom.queueing.lane import LaneKey
from postroom.spool.store import DueKey

ONE, TWO = QueueId("00000000000000a1"), QueueId("00000000000000b2")


def test_what_is_left_while_a_page_is_read_keeps_the_walk_from_its_end() -> None:
    backlog = Backlog()
    backlog.begin_page()
    backlog.left(10.0, ONE, 0)
    backlog.advance(DueKey(20.0, TWO, 0), ended=True)
    assert not backlog.exhausted
    assert backlog.place == DueKey(10.0, ONE, -1)


def test_a_restart_while_a_page_is_read_is_kept() -> None:
    backlog = Backlog()
    backlog.left_in(LaneKey("c", "d"), "d.test", 5.0, ONE, 0)
    backlog.begin_page()
    backlog.restart()
    backlog.advance(DueKey(20.0, TWO, 0), ended=True)
    backlog.advance_in(LaneKey("c", "d"), DueKey(20.0, TWO, 0), ended=True)
    assert (backlog.place, backlog.exhausted) == (None, False)
    assert (backlog.place_in(LaneKey("c", "d")), backlog.has(LaneKey("c", "d"))) == (None, True)


def test_a_domain_has_more_where_its_mail_was_left_while_its_page_was_read() -> None:
    backlog = Backlog()
    backlog.left_in(LaneKey("c", "d"), "d.test", 5.0, ONE, 0)
    backlog.begin_page()
    backlog.left_in(LaneKey("c", "d"), "d.test", 7.0, TWO, 3)
    backlog.advance_in(LaneKey("c", "d"), DueKey(5.0, ONE, 0), ended=True)
    assert backlog.place_in(LaneKey("c", "d")) == DueKey(5.0, ONE, 0)
    backlog.begin_page()
    backlog.advance_in(LaneKey("c", "d"), DueKey(7.0, TWO, 3), ended=True)
    assert not backlog.has(LaneKey("c", "d"))


def test_the_walk_of_a_domain_begins_where_the_walk_of_everything_leaves_it_out() -> None:
    backlog = Backlog()
    backlog.left_in(LaneKey("c", "early"), "early.test", 30.0, TWO, 0)
    assert backlog.place_in(LaneKey("c", "early")) is None
    backlog.begin_page()
    backlog.advance(DueKey(20.0, ONE, 0), ended=False)
    backlog.left_in(LaneKey("c", "late"), "late.test", 30.0, TWO, 0)
    assert backlog.place_in(LaneKey("c", "late")) == DueKey(20.0, ONE, 0)
    backlog.end_page()
    backlog.left_in(LaneKey("c", "back"), "back.test", 10.0, TWO, 0)
    assert backlog.place_in(LaneKey("c", "back")) == DueKey(10.0, TWO, -1)
