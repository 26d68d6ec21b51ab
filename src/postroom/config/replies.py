"""The `[replies]` table: which rules teach something by replies.

Values only.  Called by: config, supervisor.  Raises: nothing.
"""

from __future__ import annotations

import msgspec


class RepliesPolicy(msgspec.Struct, frozen=True):
    """Whose reply rules are used: the `shipped` ones, those of `file` before them."""

    file: str = ""
    shipped: bool = True
