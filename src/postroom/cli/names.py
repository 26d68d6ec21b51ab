"""Names that a command line may be completed with: asked of the server, or read from the file.

Whoever presses Tab must not wait: all of it together takes WAIT_S at most, and where the server is
down, hangs or refuses there are simply no names.

Guarantees: 1. nothing is printed and nothing raised. 2. the answer comes within WAIT_S.
Called by: cli.completion.  Raises: nothing.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from itertools import islice
from types import FrameType

from postroom.core.errors import PostroomError

WAIT_S = 0.7
NAMES_MAX = 500
"""More than anybody looks through; a server may know 100,000 sites."""

LISTINGS = {
    "channel": ("channel list", "name"),
    "source": ("source list", "name"),
    "relay": ("relay list", "host"),
}
"""What is asked of the master, and the field that is the name."""


class _TooLate(Exception):
    """Time is up."""


def names(kind: str, config: str | None) -> list[str]:
    """Return the names of a kind.

    It is channel, queue, source, relay, site, tenant, listener, webhook or event.
    """
    options = argparse.Namespace(config=config, set=None)
    before = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, WAIT_S)
    found: dict[str, None] = {}
    try:
        for name in islice(_found(kind, options), NAMES_MAX):
            found[name] = None
    except (_TooLate, PostroomError, OSError, ValueError, KeyError):
        pass  # what was found so far is better than nothing
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return sorted(name for name in found if name)


def _ring(number: int, frame: FrameType | None) -> None:
    raise _TooLate


def _found(kind: str, options: argparse.Namespace) -> Iterator[str]:
    from postroom.cli.reach import Spool, load_configuration, master
    from postroom.control.client import ControlClient
    from postroom.control.paths import RunPaths

    if kind == "event":
        from postroom.observe.stream.wanted import known_events

        yield from known_events()
        return
    if kind in ("tenant", "listener", "webhook"):
        # The server says these nowhere; its file does.
        config = load_configuration(options).config
        tables = {
            "tenant": [one.name for one in config.tenants],
            "listener": [one.name for one in config.listen],
            "webhook": [one.name for one in config.webhooks],
        }
        yield from tables[kind]
        return
    spool = Spool(options)
    with master(spool) as client:
        client.wait_at_most(WAIT_S)
        if kind in LISTINGS:
            command, field = LISTINGS[kind]
            for one in client.stream(command):
                yield one[field]
            return
        queues = [one["queue"] for one in client.stream("queue list")]
    if kind == "queue":
        yield from (f"queue{number}" for number in queues)
        return
    for number in queues:
        try:
            with ControlClient(RunPaths(spool.base).queue(number), WAIT_S) as worker:
                for one in worker.stream("site list"):
                    yield one["site"]
        except (PostroomError, OSError):
            continue  # another queue may answer
