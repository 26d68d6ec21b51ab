"""The `[server]` table: who the server is on this machine.

Values only.  Called by: config, supervisor.  Raises: nothing.
"""

from __future__ import annotations

import msgspec


class ServerPolicy(msgspec.Struct, frozen=True):
    """`user` is whom the server becomes when root starts it ("": it stays who it is)."""

    user: str = ""
