"""A client that is no friend: raw octets over a socket, and an address that is not loopback."""

from __future__ import annotations

import functools
import os
import socket
import ssl
from types import TracebackType
from typing import Self

SAYS_ROOT = '[server]\nuser = "root"\n' if os.geteuid() == 0 else ""
"""What the configuration of a server needs that listens to strangers while tests run as root."""


@functools.cache
def outer_address() -> str:
    """Return an address of this machine that other machines could reach, "" where there is none.

    No packet is sent: the route alone says which one would be used.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
    return "" if address.startswith("127.") else address


class RawClient:
    """One connection; what is said and heard are octets."""

    def __init__(self, address: tuple[str, int], source: str = "") -> None:
        self._socket: socket.socket | ssl.SSLSocket = socket.create_connection(
            address, timeout=30, source_address=(source, 0) if source else None
        )
        self._heard = b""

    @classmethod
    def greeted(cls, address: tuple[str, int], source: str = "", helo: str = "there") -> Self:
        """Return a client that has said EHLO."""
        client = cls(address, source)
        assert client.hear().startswith(b"220")
        assert client.say(f"EHLO {helo}".encode()).startswith(b"250")
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self._socket.sendall(octets)

    def hear(self) -> bytes:
        """Return one whole reply; b"" where the other side has closed."""
        lines = b""
        while True:
            while b"\n" not in self._heard:
                try:
                    more = self._socket.recv(65536)
                except ConnectionResetError:
                    more = b""
                if not more:
                    return lines + self._heard
                self._heard += more
            line, _, self._heard = self._heard.partition(b"\n")
            lines += line + b"\n"
            if line[3:4] != b"-":
                return lines

    def say(self, line: bytes) -> bytes:
        """Send a command line; return the reply."""
        self.send(line + b"\r\n")
        return self.hear()

    def start_tls(self, context: ssl.SSLContext | None = None) -> None:
        """Do the handshake; the server has agreed."""
        self._socket = (context or unchecked()).wrap_socket(self._socket, server_hostname="x")
        self._heard = b""

    def has_more(self) -> bool:
        """Say whether something unasked was said, after giving it a moment."""
        if self._heard:
            return True
        self._socket.settimeout(0.2)
        try:
            self._heard += self._socket.recv(65536)
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(30)
        return bool(self._heard)


def unchecked() -> ssl.SSLContext:
    """Return a context of a client that looks at no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
