"""Lessons: how those about one site come together, and how long they hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroom.core.limits import Limit, Rate
from postroom.shaping.lessons import AGAIN_S, SITES_MAX, Lesson, Lessons, lesson_of
from postroom.shaping.replies import Action, ReplyRule

SITE = "mx.example"


def lesson(action: Action, for_s: float, now: float, site: str = SITE) -> Lesson:
    return lesson_of(site, ReplyRule("r", "x", action=action, for_s=for_s), "421 no", now)


def test_a_suspension_holds_until_its_end_and_is_told_once() -> None:
    lessons = Lessons()
    assert lessons.learn(lesson(Action.SUSPEND, 100, 0), 0) is not None
    assert lessons.learn(lesson(Action.SUSPEND, 100, 1), 1) is None, "a second longer is no news"
    found = lessons.suspension(SITE, 99)
    assert found is not None and found.until == 100
    assert lessons.suspension(SITE, 100) is None
    assert lessons.suspension("other", 1) is None
    assert lessons.not_before(SITE, 50) == 100
    assert lessons.not_before(SITE, 100) == 0


def test_a_longer_one_of_the_same_kind_lengthens_and_a_shorter_one_does_not_shorten() -> None:
    lessons = Lessons()
    lessons.learn(lesson(Action.SUSPEND, 100, 0), 0)
    assert lessons.learn(lesson(Action.SUSPEND, 10, 20), 20) is None
    longer = lessons.learn(lesson(Action.SUSPEND, 100, 50), 50)
    assert longer is not None and (longer.since, longer.until) == (0, 150)


def test_slow_halves_limits_and_halves_again_what_is_told_later_but_not_at_once() -> None:
    lessons = Lessons()
    limit = Limit(20, Rate(100, 60.0, 10))
    assert lessons.limit(SITE, limit, 0) is limit
    lessons.learn(lesson(Action.SLOW, 100, 0), 0)
    assert lessons.limit(SITE, limit, 1) == Limit(10, Rate(50, 60.0, 5))
    # Twenty attempts that were in flight hear the same: that is one lesson.
    for _ in range(20):
        lessons.learn(lesson(Action.SLOW, 100, 1), 1)
    assert lessons.limit(SITE, limit, 1).slots == 10
    for at in range(10, 100, 10):
        lessons.learn(lesson(Action.SLOW, 100, at), at)
    assert lessons.limit(SITE, limit, 99) == Limit(1, Rate(6, 60.0, 1))
    assert lessons.limit(SITE, Limit(0, Rate(1, 60.0)), 99) == Limit(0, Rate(1, 960.0, 1))
    assert lessons.limit(SITE, Limit(None, None), 99) == Limit(None, None)
    assert lessons.limit(SITE, limit, 190) == limit


def test_back_off_and_switching_the_source_have_deferred_mail_wait_and_suspend_nothing() -> None:
    for action in (Action.BACK_OFF, Action.SWITCH_SOURCE):
        lessons = Lessons()
        lessons.learn(lesson(action, 100, 0), 0)
        assert lessons.not_before(SITE, 1) == 100
        assert lessons.suspension(SITE, 1) is None
    lessons = Lessons()
    lessons.learn(lesson(Action.SLOW, 100, 0), 0)
    assert lessons.not_before(SITE, 1) == 0


def test_what_is_lifted_or_over_is_gone_and_the_number_of_sites_is_bounded() -> None:
    lessons = Lessons()
    lessons.learn(lesson(Action.SUSPEND, 100, 0), 0)
    lessons.learn(lesson(Action.SLOW, 50, 0), 0)
    assert [one.action for one in lessons.expire(60)] == [Action.SLOW]
    assert len(lessons.forget(SITE)) == 1
    assert not lessons
    for number in range(SITES_MAX + 5):
        lessons.learn(lesson(Action.SUSPEND, 100 + number, 0, f"mx{number}"), 0)
    assert len(list(lessons)) == SITES_MAX
    assert lessons.suspension("mx0", 1) is None, "the one that is over first"
    assert len(lessons.forget("")) == SITES_MAX


@given(
    st.lists(st.tuples(st.sampled_from(Action), st.floats(1, 1000), st.floats(0, 100)), max_size=30)
)
def test_no_lesson_gets_shorter_and_two_who_hear_the_same_know_the_same(
    told: list[tuple[Action, float, float]],
) -> None:
    master, worker, now = Lessons(), Lessons(), 0.0
    for action, for_s, passed in told:
        now += passed
        before = {one.action: one.until for one in master.of(SITE, now)}
        known = master.learn(lesson(action, for_s, now), now)
        if known is not None:
            worker.put(known, now)
        after = {one.action: one.until for one in master.of(SITE, now)}
        assert all(after[one] >= until for one, until in before.items())
        assert after[action] >= now + for_s - AGAIN_S
        assert master.of(SITE, now) == worker.of(SITE, now)
        assert all(0 <= one.halvings <= 4 for one in master)
