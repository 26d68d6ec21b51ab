"""docs/events.md says what the code emits."""

from __future__ import annotations

from tools.make_events import PAGE, page


def test_the_page_of_events_is_current() -> None:
    hint = "run: python tools/make_events.py --write"
    assert PAGE.read_text("utf-8") == page(), hint
