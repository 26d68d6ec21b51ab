"""Postroom: an outbound mail queue that is durable before it says 250."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroom.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> object:
    """Import the client only for those who use it."""
    if name == "Client":
        from postroom.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
