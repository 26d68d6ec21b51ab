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


def test_mail_is_held_until_its_time_over_a_restart_and_a_move() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon:
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) as client:
            client.ehlo()
            assert client.esmtp_features["futurerelease"].startswith("3600 2")
            assert client.docmd("MAIL FROM:<a@example.org> HOLDFOR=3601")[0] == 501
        sent_at = time.time()
        daemon.send("a@example.org", ["late@example.com"], CONTENT, ["HOLDFOR=3000"])
        until = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(sent_at + 1800))
        words = ("inject", "-f", "a@example.org", "-r", "local@example.com")
        assert postroom(daemon, *words, "--hold-until", until, stdin=CONTENT)[0] == 0
        code, said = postroom(daemon, *words, "--hold-for", "2h", stdin=CONTENT)
        assert code != 0 and "for 1h at most" in said
        assert daemon.stop() == 0
        daemon.start()
        daemon.send("a@example.org", ["soon@example.com"], CONTENT, ["HOLDFOR=2"])
        released_at = time.monotonic() + 2
        scheduled = {m["recipients"][0]["address"]: m for m in listed(daemon, "state=scheduled")}
        late, local = (scheduled[f"{name}@example.com"] for name in ("late", "local"))
        assert abs(late["scheduled_until"] - sent_at - 3000) < 3
        assert "scheduled until" in postroom(daemon, "why", late["id"])[1]
        assert postroom(daemon, "mail", "run", "domain=example.com")[0] == 1, "nothing is run"
        there = 3 - late["queue"]
        assert postroom(daemon, "mail", "move", late["id"], "--queue", str(there))[0] == 0
        assert postroom(daemon, "mail", "release", local["id"])[0] == 0
        received = {one.recipients[0]: one for one in sink.wait_for(2)}
        assert received.keys() == {"soon@example.com", "local@example.com"}
        assert received["soon@example.com"].at >= released_at - 0.1
        daemon.wait_for_event("arrived")
        [left] = listed(daemon)
        assert (left["id"], left["queue"], left["state"]) == (late["id"], there, "scheduled")
        assert left["scheduled_until"] == late["scheduled_until"]
        assert postroom(daemon, "mail", "delete", late["id"])[0] == 0
        assert daemon.recipients_left() == 0
