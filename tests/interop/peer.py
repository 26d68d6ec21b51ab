"""What another mail system must be able to do to take part."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from tests.interop.combination import Abilities, Combination, combinations_of
from tests.support.ports import free_port

PEER_HOST = "peer.example"


class Fate(enum.Enum):
    """What became of a letter."""

    DELIVERED = "delivered"
    CONVERTED = "converted"
    """The peer, which may do so, wrote the body in another transfer encoding."""
    RETURNED = "returned"
    REFUSED = "refused"
    """The peer did not take it when it was handed over."""


class Places(msgspec.Struct, frozen=True):
    """Where a peer that relays sends mail: letters to `next_hop`, reports to `home`."""

    next_hop: int
    home: int


class Receiver(Protocol):
    """A running peer that keeps what it takes."""

    ports: Mapping[Combination, int]

    def arrived(self) -> list[bytes]:
        """Return all mail so far, with CRLF line ends."""
        ...

    def misused(self, combinations: Sequence[Combination]) -> list[str]:
        """Say where its own records show an extension used that was off, or not used."""
        ...


class Relay(Protocol):
    """A running peer that takes everything at `port` and sends it on."""

    port: int


class Peer(Protocol):
    """One other mail system."""

    name: str
    version: str
    """As it says itself; known once it ran."""
    receives: Abilities
    """What it permits as the host that we send to."""
    sends: Abilities
    """What it permits as the host that sends to us."""
    needs: Mapping[str, str]
    """Extensions that it has with another one only: {"receives SMTPUTF8": "8BITMIME"}."""
    why: Mapping[str, str]
    """The reason where it does not permit an extension to be switched; keys as above."""

    def receiving(
        self, combinations: Sequence[Combination]
    ) -> contextlib.AbstractContextManager[Receiver]:
        """Run it with a port for each combination; raises Missing where it is not here."""
        ...

    def relaying(
        self, combinations: Sequence[Combination], places: Places
    ) -> contextlib.AbstractContextManager[Relay]:
        """Run it so that mail for a combination's domain is sent with these extensions."""
        ...

    def fate_of(self, kind: str, combination: Combination) -> tuple[Fate, str]:
        """Say what it does, as a sender, with a kind of letter where the next hop offers this.

        With RETURNED and REFUSED comes the status that report or reply has.
        """
        ...


def permitted(peer: Peer, direction: str) -> list[Combination]:
    """Return all combinations that a peer permits in a direction."""
    abilities = peer.receives if direction == "receives" else peer.sends
    needs = [
        (key.partition(" ")[2], other)
        for key, other in peer.needs.items()
        if key.startswith(direction)
    ]
    return [
        one
        for one in combinations_of(abilities)
        if all(other in one for name, other in needs if name in one)
    ]


def ports_for(combinations: Sequence[Combination]) -> dict[Combination, int]:
    """Choose a port of loopback for each."""
    chosen: dict[Combination, int] = {}
    while len(chosen) < len(combinations):
        port = free_port()
        if port not in chosen.values():
            chosen[combinations[len(chosen)]] = port
    return chosen


def maildir(directory: Path) -> list[bytes]:
    """Return what lies in a maildir, with CRLF line ends."""
    new = directory / "new"
    paths = sorted(new.iterdir()) if new.is_dir() else []
    return [path.read_bytes().replace(b"\n", b"\r\n") for path in paths]
