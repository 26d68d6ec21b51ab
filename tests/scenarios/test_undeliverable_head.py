"""Mail that cannot be delivered, at the head of the queue, keeps nothing behind it waiting."""

from __future__ import annotations

import signal
import socket

import pytest

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

REFUSED, UNREACHABLE, GOOD = 100, 100, 900


@pytest.mark.seed(32)
def test_one_pass_delivers_all_that_stands_behind_undeliverable_mail() -> None:
    # A tenth of the size; the whole is in tests/unit/engine/test_engine.py.
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    config = f"""
[route.nowhere]
type = "relay"
host = "127.0.0.1:{port}"
[channel.unreachable]
match = ["unreachable.example"]
route = "nowhere"
retry = "list 1h for 1d"
[channel.default]
retry = "list 1h for 1d"
[delivery]
active_max = 100
lane_active_max = 50
"""
    with (
        SinkThread("rcpt=*@refused.example reply=451 4.2.0 Not now") as sink,
        Daemon(relay=sink.port, queues=1, config=config) as daemon,
    ):
        daemon.signal(signal.SIGUSR1)
        daemon.wait_until(lambda: daemon.queue(1).state == "suspended")
        addresses = [f"{number}@refused.example" for number in range(REFUSED)]
        addresses += [f"{number}@unreachable.example" for number in range(UNREACHABLE)]
        addresses += [f"{number}@d{number % 10}.example" for number in range(GOOD)]
        daemon.send_each("a@example.org", addresses)
        assert daemon.recipients_left() == len(addresses)
        daemon.signal(signal.SIGUSR2)
        sink.wait_for(GOOD, 60)
        daemon.wait_for_event("deferred", REFUSED + UNREACHABLE)
        daemon.wait_for_event("delivered", GOOD)
        assert daemon.recipients_left() == REFUSED + UNREACHABLE
        assert sorted(sink.recipients) == sorted(addresses[REFUSED + UNREACHABLE :])
        # One pass: nothing was tried twice, and what could not be delivered waits for its time.
        deferred = [(event["recipient"], event["attempts"]) for event in daemon.events("deferred")]
        assert sorted(deferred) == sorted((one, 1) for one in addresses[: REFUSED + UNREACHABLE])
        assert not daemon.events("failed")
