"""A channel with hours keeps its mail outside them, says so, and lets it go when it opens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread


def config(begins_h: int, ends_h: int) -> str:
    """Return a channel that is open between two moments, in hours from now."""
    now = datetime.now(UTC)
    begin, end = (now + timedelta(hours=hours) for hours in (begins_h, ends_h))
    return f"""
[channel.day]
match = ["day.example"]
window = "{begin:%H:%M}-{end:%H:%M}"
time_zone = "UTC"
"""


def test_mail_waits_for_the_window_and_a_reload_opens_it() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, config=config(2, 4)) as daemon:
        daemon.send("a@example.org", ["r@day.example"])
        daemon.send("a@example.org", ["r@other.example"])
        sink.wait_for(1)
        daemon.wait_until(lambda: daemon.recipients_left() == 1, what="one is delivered")
        [message] = listed(daemon)
        assert message["recipients"][0]["attempts"] == 0
        code, text = postroom(daemon, "why", message["id"])
        assert code == 0 and "the hours of channel day: its window opens at 20" in text, text
        [channel] = [one for one in in_json(daemon, "channel", "list") if one["channel"] == "day"]
        assert channel["state"] == "closed" and "opens at" in channel["reason"]
        assert channel["waiting"] == 1
        # The same after a restart; and open hours are put in force by a reload.
        assert daemon.stop() == 0
        daemon.write_config(config(-2, 4))
        daemon.start()
        sink.wait_for(2)
        assert sink.recipients == ["r@other.example", "r@day.example"]
        daemon.write_config(config(2, 4))
        assert postroom(daemon, "reload")[0] == 0
        daemon.send("a@example.org", ["s@day.example"])
        assert "its window opens at" in postroom(daemon, "why", "day.example")[1]
        daemon.write_config(config(-2, 4))
        assert postroom(daemon, "reload")[0] == 0
        sink.wait_for(3)
