"""Ports of loopback that nobody listens on, for who must name one before it is bound."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
