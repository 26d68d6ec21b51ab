"""Mail that is to be sent later: asked for by SMTP and locally, kept over a restart, steered."""

from __future__ import annotations

import smtplib
import time

from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONTENT = "Subject: later\r\n\r\nx\r\n"
CONFIG = """
[listen.smtp]
address = ["127.0.0.1:0"]
future_release = "1h"
"""


def test_mail_is_held_until_its_time_over_a_restart_and_can_be_released_or_cancelled() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon:
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) as client:
            client.ehlo()
            assert client.esmtp_features["futurerelease"].startswith("3600 2")
            assert client.docmd("MAIL FROM:<a@example.org> HOLDFOR=3601")[0] == 501
        sent_at = time.time()
        daemon.send("a@example.org", ["soon@example.com"], CONTENT, ["HOLDFOR=4"])
        daemon.send("a@example.org", ["late@example.com"], CONTENT, ["HOLDFOR=3000"])
        until = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(time.time() + 1800))
        for recipient in ("local@example.com", "never@example.com"):
            code, said = postroom(
                daemon, "inject", "-f", "a@example.org", "-r", recipient,
                "--hold-until", until, stdin=CONTENT,
            )  # fmt: skip
            assert code == 0, said
        code, said = postroom(
            daemon, "inject", "-f", "a@example.org", "-r", "b@example.com",
            "--hold-for", "2h", stdin=CONTENT,
        )  # fmt: skip
        assert code != 0 and "for 1h at most" in said
        # Over a restart.
        assert daemon.stop() == 0
        daemon.start()
        scheduled = {m["recipients"][0]["address"]: m for m in listed(daemon, "state=scheduled")}
        assert {"late@example.com", "local@example.com", "never@example.com"} <= scheduled.keys()
        late = scheduled["late@example.com"]
        assert abs(late["scheduled_until"] - sent_at - 3000) < 3
        assert "scheduled until" in postroom(daemon, "why", late["id"])[1]
        assert "(scheduled until " in postroom(daemon, "mailq")[1]
        assert postroom(daemon, "mail", "delete", scheduled["never@example.com"]["id"])[0] == 0
        assert postroom(daemon, "mail", "run", "domain=example.com")[0] == 1, "nothing is run"
        assert postroom(daemon, "mail", "release", scheduled["local@example.com"]["id"])[0] == 0
        received = {one.recipients[0]: one for one in sink.wait_for(2)}
        assert received.keys() == {"soon@example.com", "local@example.com"}
        assert time.time() - sent_at >= 4
        daemon.wait_for_event("delivered", 2)
        delays = {event["recipient"]: event["delay_s"] for event in daemon.events("delivered")}
        assert delays["soon@example.com"] < 3, "counted from its release"
        [left] = listed(daemon)
        assert left["id"] == late["id"] and left["state"] == "scheduled"
