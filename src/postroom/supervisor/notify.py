"""What systemd is told: ready, reloading, stopping, alive (sd_notify(3)).

A datagram to the socket named in the environment; without one nothing happens.
Called by: supervisor.master.  Raises: nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping


class Notifier:
    """Tells the service manager. Takes NOTIFY_SOCKET out of the environment.

    Workers must not inherit the variable: with NotifyAccess=main they are not heard.
    """

    __slots__ = ("_address", "watchdog_s")

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        # sd_notify(3): a leading @ is the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment)
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            environment.pop(name, None)

    def ready(self, status: str) -> None:
        """Say that the server serves (again, after a reload)."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def reloading(self, monotonic_s: float) -> None:
        """Say that a reload began; `ready` ends it. Type=notify-reload needs the time."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1_000_000)}")

    def stopping(self) -> None:
        """Say that the server stops."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
                datagram.setblocking(False)
                datagram.connect(self._address)
                datagram.send(text.encode())
        except OSError:
            pass  # the manager is gone or busy: mail matters more


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return how often the watchdog wants a word, in seconds; 0 where there is none."""
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", "0"))
        pid = int(environment.get("WATCHDOG_PID", "0"))
    except ValueError:
        return 0.0
    if microseconds <= 0 or pid not in (0, os.getpid()):
        return 0.0
    return microseconds / 2_000_000
