"""The store on this machine's disks: control in SQLite, content in segments.

docs/queue.md has the legal states on disk, the guarantees and the commit point. What opens a
store is loaded where it is asked for: the master plans queues and opens none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroom.spool.embedded.discard import discard_queue
from postroom.spool.embedded.layout import transcripts_of
from postroom.spool.embedded.manifest import (
    Manifest,
    ManifestQueue,
    lock_base,
    read_manifest,
    remove_queue,
    set_state,
)
from postroom.spool.embedded.queue_plan import (
    add_queue,
    adopt_queue,
    configured,
    prepare_base,
)

if TYPE_CHECKING:
    from postroom.spool.embedded.store import EmbeddedStore, open_store

__all__ = [
    "EmbeddedStore",
    "Manifest",
    "ManifestQueue",
    "add_queue",
    "adopt_queue",
    "configured",
    "discard_queue",
    "lock_base",
    "open_store",
    "prepare_base",
    "read_manifest",
    "remove_queue",
    "set_state",
    "transcripts_of",
]


def __getattr__(name: str) -> object:
    if name not in ("EmbeddedStore", "open_store"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from postroom.spool.embedded import store

    return getattr(store, name)
