"""`postroom sink` in a process of its own, for tests and benchmarks that kill the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from postroom.sink.recorder import Received
from tests.support.daemon import ROOT


class SinkProcess:
    """`postroom sink` in a process of its own, which outlives the servers it serves."""

    def __init__(self, base: Path, *options: str) -> None:
        """Start it with more options; what it takes is recorded below `base`."""
        self.record = base / "received.jsonl"
        command = [
            sys.executable, "-m", "postroom.sink", "--listen", "127.0.0.1:0", "--json",
            "--record", str(self.record), *options,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["port"])
        # Its times are of the clock that rises steadily; the ledger's are the day's.
        self._offset_s = time.time() - time.monotonic()

    def received(self) -> list[Received]:
        """Return what it took so far, with the times of day."""
        return list(self.each_received())

    def each_received(self) -> Iterator[Received]:
        """Give what it took so far, one after the other: contents need not be kept."""
        decode = msgspec.json.Decoder(Received).decode
        with self.record.open("rb") as lines:
            for line in lines:
                message = decode(line)
                yield msgspec.structs.replace(message, at=message.at + self._offset_s)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
