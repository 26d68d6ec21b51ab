"""Random stories of two queues on a simulated disk that loses what was not synced.

More: `make cuts CUTS=10000`.
"""

from __future__ import annotations

import pytest

from tests.crash.cuts import Outcome, play, rows
from tests.crash.story import CUTS

# SQLite, closing a file on a machine that is off, can tell nobody about it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
STORIES = 15


@pytest.mark.parametrize("first", range(1, 1 + 2 * STORIES, STORIES))
def test_no_power_cut_loses_what_was_acknowledged(first: int) -> None:
    found = Outcome(first)
    for seed in range(first, first + STORIES):
        found.add(play(seed))
    assert found.violations == [], rows(found, STORIES)
    assert found.cuts.total() >= STORIES * CUTS
    # The stories were what they are meant to be.
    assert {"work", "a start", "a relocation", "making the queues"} <= found.cuts.keys()
    assert {"write", "sync", "sync_directory", "create"} <= found.at.keys()
    assert found.messages > STORIES * 20 and found.kills > 0


def test_a_story_is_told_again_by_its_seed() -> None:
    first, second = play(77), play(77)
    assert (first.at, first.operations, first.messages) == (
        second.at,
        second.operations,
        second.messages,
    )
