"""One message for several channels: one content, and each channel goes its own way."""

from __future__ import annotations

import signal

import pytest

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

MARK = "x-one-content"
CONTENT = f"Subject: {MARK}\r\n\r\nfor four channels\r\n"
RECIPIENTS = [f"r@{name}.example" for name in ("one", "two", "three", "four")]


def four_channels(concurrency_of_three: int) -> str:
    text = ""
    for name in ("one", "two", "three"):
        text += f'[channel.{name}]\nmatch = ["{name}.example"]\n'
        text += f"concurrency = {concurrency_of_three if name == 'three' else 5}\n"
    return text  # "four" is the default channel's.


@pytest.mark.seed(21)
def test_a_channel_that_is_held_keeps_no_other_waiting_and_one_content_serves_all() -> None:
    # 4 recipients in 4 channels, one held: 3 delivered, one content.
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=four_channels(0)) as daemon:
        daemon.send("a@example.org", RECIPIENTS, CONTENT)
        sink.wait_for(3)
        daemon.wait_for_event("delivered", 3)
        assert daemon.recipients_left() == 1
        channels = {event["recipient"]: event["channel"] for event in daemon.events("delivered")}
        assert channels == {
            "r@one.example": "one", "r@two.example": "two", "r@four.example": "default",
        }  # fmt: skip
        stored = list((daemon.base / "spool" / "queue1" / "df").glob("*.seg"))
        octets = b"".join(segment.read_bytes() for segment in stored)
        assert octets.count(MARK.encode()) == 1
        # Each channel is tried alone, so the sink took as many messages; all are the same.
        assert len({message.octets for message in sink.messages}) == 1

        daemon.write_config(four_channels(5))
        daemon.signal(signal.SIGHUP)
        sink.wait_for(4)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")
        assert sorted(sink.recipients) == sorted(RECIPIENTS)
        assert len({message.octets for message in sink.messages}) == 1
