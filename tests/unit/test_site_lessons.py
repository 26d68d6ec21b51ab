"""What replies have taught is in force after a restart, ends in time, and is kept as it changes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from postroom.core.clock import SystemClock
from postroom.observe.events import EventList, SettingIgnored
from postroom.shaping.lessons import Lesson
from postroom.shaping.replies import Action
from postroom.supervisor.site_lessons import FILE, SiteLessons


class Lending:
    """Is told to look again."""

    def __init__(self) -> None:
        self.looks = 0
        self.lessons: object = None

    def look_again(self) -> None:
        self.looks += 1


def lesson(site: str, for_s: float, action: Action = Action.SLOW) -> Lesson:
    now = time.time()
    return Lesson(site, action, now, now + for_s, "a-rule", "421 slow down", 1)


def lessons(
    base: Path, lending: Lending | None = None, events: EventList | None = None
) -> SiteLessons:
    return SiteLessons(
        str(base),
        SystemClock(),
        events or EventList(),
        lambda message: None,
        lending,  # type: ignore[arg-type]
    )


def test_what_was_slowed_down_before_a_restart_ends_in_time(tmp_path: Path) -> None:
    async def scene() -> None:
        first = lessons(tmp_path)
        first.learned(lesson("mx.test", 0.6))
        await first.close()
        lending = Lending()
        second = lessons(tmp_path, lending)
        assert [one.site for one in second.in_force()] == ["mx.test"]
        second.begin()
        looks = lending.looks
        while lending.looks == looks:
            await asyncio.sleep(0.02)
        assert second.in_force() == []
        await second.close()

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_what_is_lifted_just_before_the_end_is_not_back_after_it(tmp_path: Path) -> None:
    async def scene() -> None:
        first = lessons(tmp_path)
        first.learned(lesson("a.test", 100, Action.SUSPEND))
        first.learned(lesson("b.test", 100, Action.SUSPEND))
        await first.close()
        second = lessons(tmp_path)
        assert second.lift("a.test") == 1
        await second.close()
        assert [one.site for one in lessons(tmp_path).in_force()] == ["b.test"]

    asyncio.run(asyncio.wait_for(scene(), 30))


@pytest.mark.parametrize("octets", [b"{", b'{"version": 1, "lessons": "\xff"}', b"\xff", b"[]"])
def test_a_file_that_cannot_be_read_is_told_and_left_out(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / FILE).write_bytes(octets)
    events = EventList()
    assert lessons(tmp_path, events=events).in_force() == []
    [event] = events.events
    assert isinstance(event, SettingIgnored) and "cannot be read" in str(event)
