"""The remote hosts of a soak, and what they received.

Owns two sinks: one process plays the sites that behave and misbehave for as long as the run
lasts, the other is the host that is down for minutes. Both write down envelopes only, which are
read while they are written.

    site    what it does
    well    takes everything; also the reports
    defer   451 to a tenth of the recipients
    refuse  550 to a fifth of them
    drop    breaks off after a twentieth of the contents
    hang    says nothing for long (20 s) after one in two hundred contents
    down    is not there at times

Called by: tests.support.soak_run.  Raises: OSError.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from postroom.sink.recorder import Received
from tests.support.daemon import ROOT
from tests.support.ports import free_port

RULES = {
    "well": (),
    "defer": ("rcpt percent=10 reply=451 4.2.0 Not now",),
    "refuse": ("rcpt percent=20 reply=550 5.1.1 No such user",),
    "drop": ("content percent=5 drop",),
    "hang": ("content percent=0.5 delay=HANG",),
    "down": (),
}
WEIGHTS = {"well": 60, "defer": 15, "refuse": 5, "drop": 5, "hang": 5, "down": 10}
READ_OCTETS = 4 << 20


class Sites:
    """All remote hosts."""

    def __init__(self, base: Path, hang_s: float = 20.0) -> None:
        self._base, self._hang_s = base, hang_s
        self.ports = {name: free_port() for name in RULES}
        self.received: dict[str, int] = {}
        """How often each number was received that was received more than once."""
        self.count = 0
        self.seen = bytearray()
        """By number: 1 received, 2 reported as failed, 4 received again."""
        self._places = {"always.jsonl": 0, "down.jsonl": 0}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._decode = msgspec.json.Decoder(Received).decode

    def routes(self) -> str:
        """Return the channels and routes that lead to them."""
        return "".join(
            f'[route.{name}]\ntype = "relay"\nrelays = [{{ host = "127.0.0.1:{port}" }}]\n'
            f'[channel.{name}]\nmatch = ["{name}.example"]\nroute = "{name}"\n'
            f"concurrency = 40\nper_site = {{ concurrency = 12 }}\n"
            for name, port in self.ports.items()
        )

    def start(self) -> None:
        """Start all of them."""
        self._start("always", [name for name in RULES if name != "down"])
        self.start_down()

    def start_down(self) -> None:
        """Let the host be there that is down at times."""
        self._start("down", ["down"])

    def stop_down(self) -> None:
        """Take it away."""
        self._stop("down")

    @property
    def is_down(self) -> bool:
        """True while it is away."""
        return "down" not in self._processes

    def stop(self) -> None:
        """End all."""
        for name in list(self._processes):
            self._stop(name)

    def _start(self, name: str, sites: list[str]) -> None:
        text = "".join(
            f"[site.{site}]\nlisten = ['127.0.0.1:{self.ports[site]}']\n"
            f"rules = {json.dumps(list(RULES[site]))}\n"
            for site in sites
        ).replace("HANG", f"{round(1000 * self._hang_s)}ms")
        profile = self._base / f"{name}.toml"
        profile.write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-m", "postroom.sink", "--profile", str(profile), "--json",
             "--record", str(self._base / f"{name}.jsonl"), "--no-content"],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        self._processes[name] = process

    def _stop(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.communicate()

    def read(self) -> None:
        """Take note of what they received since the last time."""
        for name in self._places:
            path = self._base / name
            if path.exists():
                while self._read_some(path, name):
                    pass

    def _read_some(self, path: Path, name: str) -> bool:
        with path.open("rb") as lines:
            lines.seek(self._places[name])
            octets = lines.read(READ_OCTETS)
        end = octets.rfind(b"\n") + 1
        for line in octets[:end].splitlines():
            message = self._decode(line)
            for address in message.recipients:
                self._note(address, is_report=not message.reverse_path)
        self._places[name] += end
        return end > 0 and len(octets) == READ_OCTETS

    def _note(self, address: str, *, is_report: bool) -> None:
        local = address.partition("@")[0]
        if not local[1:].isdigit():
            return
        number = int(local[1:])
        self.count += not is_report
        if number >= len(self.seen):
            self.seen.extend(bytes(number + 65536 - len(self.seen)))
        if is_report:
            self.seen[number] |= 2
        else:
            self.seen[number] |= 4 if self.seen[number] & 1 else 1
