"""The disk of a dead machine is served by another: same ids, each message delivered once."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

MESSAGES = 20


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory on another file system, where there is one."""
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="pr-", dir=memory if memory.is_dir() else None))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.seed(6)
def test_a_copied_queue_is_adopted_with_its_mail_and_ids(elsewhere: Path) -> None:
    with SinkThread() as sink:
        with Daemon(relay=sink.port, queues=1) as dead:
            assert postroom(dead, "delivery", "suspend")[0] == 0
            for number in range(MESSAGES):
                dead.send("a@example.org", [f"r{number}@example.com"])
            ids = {message["id"] for message in listed(dead)}
            assert len(ids) == MESSAGES
            assert postroom(dead, "mail", "hold", "recipient=r7@example.com")[0] == 0
            dead.kill_all()
            copy = elsewhere / "queue"
            subprocess.run(["cp", "-a", dead.base / "spool" / "queue1", copy], check=True)

        with Daemon(relay=sink.port, queues=1) as daemon:
            code, text = postroom(daemon, "queue", "adopt", str(copy))
            assert (code, text) == (0, f"queue2 is {copy} from now on, with all its mail\n")
            sink.wait_for(MESSAGES - 1)
            daemon.wait_until(lambda: daemon.recipients_left() == 1, what="the held one is left")
            assert {event["id"] for event in daemon.events("delivered")} < ids
            [held] = listed(daemon)
            assert held["id"] in ids and held["state"] == "held"
            assert postroom(daemon, "mail", "release", "all")[0] == 0
            sink.wait_for(MESSAGES)
            assert sorted(sink.recipients) == sorted(f"r{n}@example.com" for n in range(MESSAGES))
            # It is one of ours now, also after a restart, and adopted only once.
            code, text = postroom(daemon, "queue", "adopt", str(copy))
            assert code == 1 and "is queue2 of this server, or a copy of it" in text
            assert daemon.stop() == 0
            daemon._queues = 2
            daemon.start()


def test_what_is_no_queue_or_is_served_already_is_not_adopted(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "empty").mkdir(mode=0o700)
    with (
        SinkThread() as sink,
        Daemon(queues=1, relay=sink.port) as other,
        Daemon(relay=sink.port, queues=1) as daemon,
    ):
        code, text = postroom(daemon, "queue", "adopt", str(tmp_path / "empty"))
        assert code == 1 and "no identity" in text
        code, text = postroom(daemon, "queue", "adopt", str(other.base / "spool" / "queue1"))
        assert code == 1 and "queue1" in text
        assert list((tmp_path / "empty").iterdir()) == []
        [queue] = daemon.status().queues
        assert queue.state == "running"
