"""A queue directory on a simulated disk."""

from __future__ import annotations

import uuid
from pathlib import Path

from postroom.spool.embedded.layout import create_queue
from tests.sim.disk import SimulatedDisk

IDENTITY = uuid.UUID(int=7)


def make_queue(disk: SimulatedDisk, directory: Path) -> None:
    """Make an empty queue that is durable."""
    disk.make_directory(directory)
    create_queue(disk, directory, IDENTITY, alone=True)
