"""How many examples a property is tried with, and whether they are the same each time.

`make test` draws the same examples each time: whether it passes depends on the tree alone.
`make properties` draws others, TIMES as many of each; what it finds becomes an `@example`.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

TIMES = int(os.environ.get("POSTROOM_PROPERTIES_TIMES", "0"))
"""How many times as many examples as usual, by chance; 0: the usual ones."""

DEFAULT_COUNT = 100
"""What a property that names no count is tried with."""


def examples(count: int, **others: Any) -> settings:
    """Return settings of a property with `count` examples in `make test`. No test is timed."""
    return settings(
        max_examples=count * max(TIMES, 1), deadline=None, derandomize=not TIMES, **others
    )
