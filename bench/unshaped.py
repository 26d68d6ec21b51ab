"""A server without limits: what `make bench-shaping` compares with. Not for mail.

    python bench/unshaped.py --config FILE

The server as it is, but no worker asks the master for slots or tokens: the gates of its
scheduler are its own and let everything through that the configuration does. What remains is
counting attempts at gates, which scheduling does with or without limits.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from postroom.engine.engine import Engine
from postroom.supervisor import mail_service, master, serve, worker_main
from postroom.supervisor.fleet import Fleet


class UnshapedEngine(Engine):
    """An engine whose limits are nobody else's, and none is of more than a channel."""

    def __init__(self, parts: Any, policy: Any, hostname: Any, classes: Any, *_: object) -> None:
        super().__init__(parts, policy, hostname, classes)

    def reconfigure(self, policy: Any, channels: Any, hostname: Any, classes: Any, *_: Any) -> None:
        super().reconfigure(policy, channels, hostname, classes)


def main(words: list[str]) -> int:
    """Serve, or be a worker of the server that was started so."""
    if "--link" in words:
        mail_service.Engine = UnshapedEngine  # type: ignore[misc]
        return worker_main.main(words)
    command = (sys.executable, "-P", str(Path(__file__).resolve()))
    master.Fleet = functools.partial(Fleet, command=command)  # type: ignore[misc, assignment]
    return serve.main(words)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
