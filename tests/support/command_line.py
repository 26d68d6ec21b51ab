"""The command line as a user types it, against a server for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.support.daemon import Daemon


def postroom(
    daemon: Daemon, *words: str, stdin: str = "", hang_s: float | None = None
) -> tuple[int, str]:
    """Run a command; return exit code and what it printed, errors included.

    A command that has not ended after `hang_s` is said to hang.
    """
    done = subprocess.run(
        [sys.executable, "-m", "postroom", "--config", str(daemon.file), *words],
        input=stdin, text=True, env=daemon.environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=hang_s,
    )  # fmt: skip
    return done.returncode, done.stdout


def in_json(daemon: Daemon, *words: str) -> list[dict[str, Any]]:
    """Return the lines of JSON that a command prints."""
    _, out = postroom(daemon, *words, "--json")
    return [json.loads(line) for line in out.splitlines()]


def listed(daemon: Daemon, *words: str) -> list[dict[str, Any]]:
    """Return the messages that `mail list` shows."""
    return in_json(daemon, "mail", "list", *words)
