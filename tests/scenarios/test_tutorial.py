"""The tutorial works as it is written: every command of it, in its order."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from tests.support.walkthrough import ROOT, Reader, is_shown, steps_of

PAGE = ROOT / "docs" / "tutorial.md"


def _free_ports(number: int) -> list[str]:
    """Return ports of loopback on which nothing listens, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.mark.timeout(400)
def test_every_command_of_the_tutorial_does_what_the_page_shows() -> None:
    steps = steps_of(PAGE.read_text("utf-8"))
    assert len(steps) > 40
    # Short, since the spool's sockets lie below it.
    home = Path(tempfile.mkdtemp(prefix="pr-"))
    ports = dict(zip(("2525", "2526"), _free_ports(2), strict=True))
    try:
        with Reader(home, ports) as reader:
            for step in steps:
                reader.follow(step)
        assert not (home / "try-postroom").exists(), "the page cleans up behind itself"
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_what_a_page_shows_is_compared_loosely_but_compared() -> None:
    seen = "queue1  running  12  0/500\nd25npws04baz7000  held  2s\n2 messages\n"
    assert is_shown(("queue1 running 4711 0/500", "2 messages"), seen)
    assert is_shown(("…", "d25nq5nhe2wpr000 held 1m 4s", "…"), seen)
    assert not is_shown(("2 messages", "queue1 running 4711 0/500"), seen), "the order counts"
    assert not is_shown(("d25nq5nhe2wpr000 deferred 1s",), seen)
    assert not is_shown(("queue1 running",), seen), "a line is compared as a whole"
