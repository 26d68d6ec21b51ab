"""An agenda gives each key at its moment, once, and knows the next moment at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroom.core.limits import LimitKey
from postroom.shaping.agenda import SPARE, Agenda

KEYS = [LimitKey("site", "c", f"s{number}") for number in range(5)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(KEYS), st.one_of(st.none(), st.integers(0, 20))),
        st.integers(0, 20),
    )
)


@given(STEPS)
def test_an_agenda_is_as_a_table_that_is_searched(steps: list[object]) -> None:
    agenda, table = Agenda(), dict[LimitKey, int]()
    for step in steps:
        if isinstance(step, tuple):
            key, at = step
            agenda.set(key, at)
            table.pop(key, None)
            if at is not None:
                table[key] = at
        else:
            assert isinstance(step, int)
            due = sorted((at, key) for key, at in table.items() if at <= step)
            assert agenda.take_due(step) == [key for _, key in due]
            for _, key in due:
                del table[key]
        assert agenda.next_at == min(table.values(), default=None)
        assert len(agenda) == len(table)


def test_moments_that_are_moved_again_and_again_take_no_room() -> None:
    agenda = Agenda()
    for moment in range(10_000):
        agenda.set(KEYS[moment % 5], float(moment))
    assert len(agenda) == 5 and len(agenda._heap) <= 2 * 5 + SPARE
