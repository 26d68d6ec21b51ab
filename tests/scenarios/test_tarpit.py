"""A site that hangs holds its own attempts only."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CHANNELS = ("one", "two", "three")


def configuration(tarpit: int) -> str:
    text = f'[route.slow]\ntype = "relay"\nhost = "127.0.0.1:{tarpit}"\n'
    text += '[channel.slow]\nmatch = ["slow.example"]\nroute = "slow"\n'
    for name in CHANNELS:
        text += f'[channel.{name}]\nmatch = ["{name}.example"]\n'
    # So little memory that a channel which does not move could fill it.
    return text + "[delivery]\nactive_max = 100\nlane_active_max = 50\n"


@pytest.mark.parametrize("step", ["connect", "rcpt", "content"])
@pytest.mark.seed(31)
def test_all_other_mail_is_delivered_while_a_tarpit_hangs(step: str) -> None:
    # The rate is compared in tests/unit/engine/test_fairness.py.
    count = 60
    with (
        SinkThread(f"{step} delay=10m") as tarpit,
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=1, config=configuration(tarpit.port)) as daemon,
    ):
        # The tarpit's mail always comes first.
        names = ("slow", "slow", *CHANNELS)
        daemon.send_each(
            "a@example.org",
            [f"{number}@{name}.example" for number in range(count) for name in names],
        )
        sink.wait_for(len(CHANNELS) * count)
        assert sorted(sink.recipients) == sorted(
            f"{number}@{name}.example" for number in range(count) for name in CHANNELS
        )
        daemon.wait_for_event("delivered", len(CHANNELS) * count)
        assert daemon.recipients_left() == 2 * count
        daemon.wait_until(lambda: daemon.queue(1).in_flight > 0, what="attempts hang")
        # No attempt at the tarpit has come to an end, good or bad.
        assert tarpit.messages == []
        assert not daemon.events("deferred") and not daemon.events("failed")
