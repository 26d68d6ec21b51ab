"""Attempts in flight are found by the worker that comes after."""

from __future__ import annotations

import os
from pathlib import Path

from postroom.core.ids import QueueId
from postroom.observe.flights import NOWHERE, Flight, Flights, Mark, make_sheet, open_sheet
from postroom.supervisor.memory_kills import memory_kills

A, B = QueueId("01j8zk3v9q4x7m2t"), QueueId("01j8zk3v9q4x7m2v")


def test_what_has_not_ended_is_left_to_the_next_worker_and_only_to_that() -> None:
    sheet = bytearray(320)
    flights = Flights(sheet)
    ended = flights.begin(A, (0,), Mark.FRESH)
    flights.begin(B, (3, 4, 9), Mark.SUSPECT)
    flights.end(ended)
    flights.begin(A, (1,), Mark.FRESH)
    assert sorted(Flights(sheet).left) == [
        Flight(A, 1, 1, Mark.FRESH),
        Flight(B, 3, 9, Mark.SUSPECT),
    ]
    assert Flights(sheet).left == ()


def test_a_full_sheet_records_no_more_and_a_slot_is_used_again() -> None:
    flights = Flights(bytearray(64))
    places = [flights.begin(A, (0,), Mark.FRESH) for _ in range(3)]
    assert places[2] == NOWHERE
    flights.end(places[2])
    flights.end(places[0])
    assert flights.begin(B, (0,), Mark.FRESH) == places[0]
    assert Flights().begin(A, (0,), Mark.FRESH) == NOWHERE


def test_a_slot_that_was_cut_off_while_it_was_written_is_passed_over() -> None:
    sheet = bytearray(64)
    flights = Flights(sheet)
    flights.begin(A, (0,), Mark.FRESH)
    flights.begin(B, (0,), Mark.FRESH)
    sheet[0:4] = bytes(4)
    assert Flights(sheet).left == (Flight(B, 0, 0, Mark.FRESH),)


def test_a_sheet_outlives_the_process_that_fills_it() -> None:
    descriptor = make_sheet()
    child = os.fork()
    if not child:
        open_sheet(os.dup(descriptor)).begin(A, (2,), Mark.FRESH)
        os._exit(0)
    os.waitpid(child, 0)
    assert open_sheet(descriptor).left == (Flight(A, 2, 2, Mark.FRESH),)


def test_the_kernel_tells_how_many_processes_it_killed_for_want_of_memory(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    assert memory_kills(vmstat) == 0
    vmstat.write_text("oom_kill_other 9\npgfault 12\noom_kill 3\n")
    assert memory_kills(vmstat) == 3
