"""What an operator said about messages is still so after a restart, and after a crash."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

SLOW_RETRY = '[channel.default]\nretry = "list 1h for 2d"\n'


def stop(daemon: Daemon) -> None:
    assert daemon.stop() == 0


def states(daemon: Daemon) -> dict[str, tuple[str, str, int]]:
    """Return state, reason of a hold and attempts of each message, by its recipient."""
    return {
        recipient["address"]: (message["state"], message["hold"], recipient["attempts"])
        for message in listed(daemon)
        for recipient in message["recipients"]
    }


@pytest.mark.parametrize("end", [stop, Daemon.kill_all], ids=["stopped", "killed"])
@pytest.mark.seed(40)
def test_held_and_released_mail_stays_so_over_a_restart(end: Callable[[Daemon], None]) -> None:
    # For delivery as a whole: test_signals.py.
    with (
        SinkThread("rcpt=late@* first=1 reply=451 4.2.0 Not now") as sink,
        Daemon(relay=sink.port, queues=2, config=SLOW_RETRY) as daemon,
    ):
        daemon.send("a@example.org", ["late@example.com"])
        daemon.wait_for_event("deferred")
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        for name in ("held", "released", "waiting"):
            daemon.send("a@example.org", [f"{name}@example.com"])
        for name in ("held", "late", "released"):
            words = ("mail", "hold", f"recipient={name}@example.com", "--reason", f"why {name}")
            assert postroom(daemon, *words) == (0, "1 message held\n")
        assert postroom(daemon, "mail", "release", "recipient=released@example.com")[0] == 0
        before = states(daemon)
        assert before == {
            "late@example.com": ("held", "why late", 1),
            "held@example.com": ("held", "why held", 0),
            "released@example.com": ("waiting", "", 0),
            "waiting@example.com": ("waiting", "", 0),
        }

        end(daemon)
        daemon.start()
        assert states(daemon) == before
        assert sum(queue.held for queue in daemon.status().queues) == 2
        # A hold is stronger than a wish to run, now as before.
        postroom(daemon, "mail", "run", "all")
        assert postroom(daemon, "delivery", "resume")[0] == 0
        sink.wait_for(2)
        daemon.wait_until(lambda: daemon.recipients_left() == 2, what="what was not held is final")
        end(daemon)
        daemon.start()
        assert {address: state[:2] for address, state in states(daemon).items()} == {
            "late@example.com": ("held", "why late"),
            "held@example.com": ("held", "why held"),
        }
        assert sorted(sink.recipients) == ["released@example.com", "waiting@example.com"]
        assert postroom(daemon, "mail", "release", "all") == (0, "2 messages released\n")
        sink.wait_for(4)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")
        assert sorted(sink.recipients) == sorted(before)
