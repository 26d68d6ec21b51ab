"""A provider says that it has enough of us: all queues leave it alone, until told or in time."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

LIMITED = "421 4.7.28 unusual rate of unsolicited mail"
CONFIG = """
[replies]
file = "replies.toml"
shipped = false
[group.default]
placement = "round-robin"
[channel.default]
per_site.concurrency = 1
[channel.other]
match = ["other.example"]
route = "other"
[route.other]
type = "relay"
host = "127.0.0.1:{}"
"""
RULES = """
[[rule]]
name = "test-rate"
match = '^421 4\\.7\\.28 '
suspend = "1h"
"""


@pytest.mark.seed(31)
def test_a_site_is_suspended_by_a_reply_in_all_queues_over_a_restart_until_resumed() -> None:
    with SinkThread(f"mail first=1 reply={LIMITED}") as limited, SinkThread() as other:
        daemon = Daemon(relay=limited.port, queues=2, config=CONFIG.format(other.port))
        (daemon.base / "replies.toml").write_text(RULES)
        with daemon:
            daemon.send_each("a@example.org", ["first@example.com"])
            daemon.wait_until(lambda: bool(daemon.events("reply-rule")), 10, "the rule acts")
            [event] = daemon.events("reply-rule")
            assert event["rule"] == "test-rate" and event["action"] == "suspend"
            assert event["site"] == "relay:default" and LIMITED in event["reply"]

            daemon.send_each("a@example.org", [f"r{number}@example.com" for number in range(9)])
            daemon.send_each("a@example.org", ["b@other.example"])
            other.wait_for(1)
            daemon.wait_until(lambda: len(daemon.events("deferred")) == 10, 10, "all wait")
            assert not limited.messages
            waiting = daemon.events("deferred")
            assert {one["queue"] for one in waiting} == {"queue1", "queue2"}
            assert all(one["due_at"] >= event["until"] - 1 for one in waiting)

            code, out = postroom(daemon, "why", "relay:default")
            assert code == 0 and "by reply rule test-rate: 421 4.7.28" in out
            code, out = postroom(daemon, "site", "lessons", "--json")
            [lesson] = [json.loads(line) for line in out.splitlines()]
            assert code == 1 and lesson["action"] == "suspend"

            time.sleep(0.7)  # what is learned is kept within half a second
            daemon.kill_all()
            daemon.start()
            daemon.send_each("a@example.org", ["after@example.com"])
            daemon.wait_until(lambda: len(daemon.events("deferred")) == 11, 10, "it waits, too")
            assert not limited.messages

            assert postroom(daemon, "site", "resume", "relay:default")[0] == 0
            assert postroom(daemon, "site", "lessons")[0] == 0
            assert postroom(daemon, "site", "resume", "relay:default")[0] == 1
            # What was deferred before the restart is not known any more to wait only for this.
            # Unless it was looked up meanwhile and found to: then nothing waits any more.
            code, out = postroom(daemon, "mail", "run", "all", "--json")
            done = json.loads(out)
            assert code == (0 if done["count"] else 1) and not done["absent"]
            limited.wait_for(11)
