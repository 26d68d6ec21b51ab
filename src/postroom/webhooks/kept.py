"""What is kept of a consumer over restarts: how far it has come, and how it is.

STREAM/_webhooks/NAME.json, beside the events that it is about. NAME.replay there is an order to
go back to a cursor, which commands write and the webhooks process carries out.

Guarantees: 1. a crash leaves the old file or the new one.  2. an order is carried out once its
consumer's new place is durable.
Called by: webhooks.service, cli.webhooks.  Raises: OSError.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.observe.owner import give_to_owner, make_private
from postroom.observe.stream.cursor import CursorError, parse_cursor
from postroom.spool.embedded.disk import RealDisk, write_atomically

DIRECTORY = "_webhooks"
_OCTETS_MAX = 1 << 17


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a consumer is. `cursor` is behind what it has taken; `failures` in a row since then.

    `refused` of what was sent was not wanted; where there is an `error` without failures, it is
    why the last was not.
    """

    cursor: str
    sent: int = 0
    skipped: int = 0
    refused: int = 0
    failures: int = 0
    error: str = ""
    failing_since: float = 0.0
    next_at: float = 0.0
    taken_at: float = 0.0


class KeptFiles:
    """The files of all consumers of one stream."""

    def __init__(self, stream: str) -> None:
        self._directory = Path(stream) / DIRECTORY

    def read(self, name: str) -> Kept | None:
        """Return what is kept of a consumer; None where it is new, or cannot be understood."""
        try:
            octets = self._path(name).read_bytes()[:_OCTETS_MAX]
            kept = msgspec.json.decode(octets, type=Kept)
            parse_cursor(kept.cursor)
        except (FileNotFoundError, *UNDECODABLE, CursorError):
            return None
        return kept

    def is_known(self, name: str) -> bool:
        """Say whether there is a file of a consumer, in whatever state."""
        return self._path(name).exists()

    def write(self, name: str, kept: Kept) -> None:
        """Keep how a consumer is, durably."""
        self._put(self._path(name), msgspec.json.encode(kept))

    def order_replay(self, name: str, cursor: str) -> None:
        """Have a consumer go back (or on) to a cursor."""
        self._put(self._order(name), cursor.encode())

    def replay(self, name: str) -> str:
        """Return the cursor that a consumer is to go to; "" where there is no order."""
        try:
            text = self._order(name).read_bytes()[:_OCTETS_MAX].decode("ascii")
            return str(parse_cursor(text))
        except FileNotFoundError:
            return ""
        except (UnicodeDecodeError, CursorError):
            self.replayed(name)  # of no use to anybody
            return ""

    def replayed(self, name: str) -> None:
        """Forget the order: it was carried out."""
        self._order(name).unlink(missing_ok=True)

    def _put(self, path: Path, octets: bytes) -> None:
        make_private(self._directory)
        write_atomically(RealDisk(), path, octets)
        for one in (self._directory, path):
            give_to_owner(one, self._directory.parent)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _order(self, name: str) -> Path:
        return self._directory / f"{name}.replay"
