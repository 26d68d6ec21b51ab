"""One of four disks dies under load: the other queues go on, and all mail comes in the end."""

from __future__ import annotations

import smtplib
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread
from tests.support.small_disk import SmallDisk

SESSIONS = 12
WINDOW_S = 4.0
MEASURED_AGAIN = 3
RATE_KEPT = 0.9
IN_FLIGHT_MAX = 200
"""Attempts of one queue at the moment when its disk dies: their outcome may not be kept."""


def inject_until(port: int, over: threading.Event, names: str, sent: list[str]) -> None:
    """Send messages in sessions of some length; keep who was acknowledged."""
    number = 0
    while not over.is_set():
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                for _ in range(50):
                    if over.is_set():
                        break
                    number += 1
                    recipient = f"{names}.{number}@example.com"
                    client.sendmail("a@example.org", [recipient], "Subject: t\r\n\r\nx\r\n")
                    sent.append(recipient)
        except OSError:
            # The client's rule: what was not acknowledged is sent again, by another name here.
            time.sleep(0.01)


def rate_of_others(daemon: Daemon) -> float:
    """Return how many messages a second queues 2 to 4 accept, over a window."""

    def accepted() -> int:
        return sum(queue.accepted for queue in daemon.status().queues if queue.queue != 1)

    before, began = accepted(), time.monotonic()
    time.sleep(WINDOW_S)
    return (accepted() - before) / (time.monotonic() - began)


@pytest.mark.seed(16)
def test_a_disk_that_dies_costs_the_other_queues_nothing_and_no_mail(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with SmallDisk("ext4") as disk, SinkThread() as sink:
        places = [disk.path / "q1", *(tmp_path / f"q{number}" for number in (2, 3, 4))]
        for place in places:
            place.mkdir(mode=0o700)
        spool = f'reserve = "1 MiB"\ndirectories = {[str(place) for place in places]}'
        limits = '[listen.smtp]\naddress = ["127.0.0.1:0"]\nsize_limit = "1 MiB"\n'
        # By load alone few sessions stay with few workers, perhaps not with that of queue1.
        limits += '[group.default]\nplacement = "round-robin"\n'
        with Daemon(relay=sink.port, queues=4, spool=spool, config=limits) as daemon:
            over = threading.Event()
            sent: list[list[str]] = [[] for _ in range(SESSIONS)]
            port = daemon.port
            clients = [
                threading.Thread(target=inject_until, args=(port, over, f"c{number}", names))
                for number, names in enumerate(sent)
            ]
            for client in clients:
                client.start()
            try:
                daemon.wait_until(lambda: daemon.queue(1).accepted > 100, what="all take mail")
                before = rate_of_others(daemon)
                disk.fail()
                daemon.wait_until(lambda: not takes_mail(daemon), what="queue1 is out")
                after = rate_of_others(daemon)
                for _ in range(MEASURED_AGAIN):
                    # The machine may have had something else to do just then.
                    if after < RATE_KEPT * before:
                        after = rate_of_others(daemon)
                print(f"messages/s of the other three: {before:.0f} before, {after:.0f} after")
            finally:
                over.set()
                for client in clients:
                    client.join()
            assert after >= RATE_KEPT * before
            # As an operator does: close it, see to the disk, open it again.
            assert postroom(daemon, "queue", "offline", "1")[0] == 0
            daemon.wait_until(lambda: daemon.queue(1).pid == 0, 60, "queue1 is closed")
            disk.come_back()
            assert postroom(daemon, "queue", "enable", "1")[0] == 0
            daemon.wait_until(lambda: daemon.queue(1).state == "running", 60, "queue1 is back")
            assert postroom(daemon, "mail", "run", "all")[0] in (0, 1)
            daemon.wait_until(lambda: daemon.recipients_left() == 0, 60, "all is delivered")
            acknowledged = [name for names in sent for name in names]
            taken = Counter(sink.recipients)
            lost = [name for name in acknowledged if not taken[name]]
            twice = sum(count - 1 for count in taken.values())
            print(f"{len(acknowledged)} acknowledged, {len(lost)} lost, {twice} twice")
            assert not lost, "nothing acknowledged is lost, on that disk or another"
            assert twice <= IN_FLIGHT_MAX


def takes_mail(daemon: Daemon) -> bool:
    queue = daemon.queue(1)
    return queue.room > 0 and queue.state == "running"
