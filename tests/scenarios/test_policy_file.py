"""A policy file decides about clients, recipients, messages and destinations of a real server."""

from __future__ import annotations

import smtplib

import pytest

from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONTENT = "Subject: t\r\n\r\nx\r\n"
FILE = """
from postroom.hooks import Client, Defer, Hold, Message, Refuse

def on_recipient(client, sender, recipient):
    if recipient.endswith("@refused.example"):
        return Refuse("we do not write to them")

def on_message(message):
    if message.header("X-Test"):
        return Hold("a test: " + message.header("X-Test"))
    if "crash" in message.header("Subject"):
        raise RuntimeError("a mistake")
    if "slow" in message.header("Subject"):
        while True:
            pass

def route(domain):
    if domain == "held.example":
        return "held"
    if domain == "broken.example":
        raise KeyError(domain)
"""
CONFIG = """
[policy]
file = "policy.py"
time_limit = "500ms"
[channel.held]
match = ["nothing.example"]
concurrency = 0
"""


def server(sink: SinkThread, text: str = FILE) -> Daemon:
    daemon = Daemon(relay=sink.port, queues=2, config=CONFIG)
    (daemon.base / "policy.py").write_text(text)
    return daemon


@pytest.mark.seed(36)
def test_each_hook_decides_and_one_that_fails_defers() -> None:
    with SinkThread() as sink, server(sink) as daemon:
        refused = daemon.send("a@example.org", ["b@refused.example", "b@example.com"])
        assert refused["b@refused.example"] == (550, b"5.7.1 we do not write to them")
        sink.wait_for(1)
        daemon.send("a@example.org", ["c@example.com"], "X-Test: yes\r\n" + CONTENT)
        [held] = listed(daemon, "state=held")
        assert held["hold"] == "a test: yes"
        for subject in ("crash", "slow"):
            with pytest.raises(smtplib.SMTPDataError) as failed:
                daemon.send("a@example.org", ["d@example.com"], f"Subject: {subject}\r\n\r\nx\r\n")
            assert (failed.value.smtp_code, failed.value.smtp_error[:5]) == (451, b"4.3.0")
        told = daemon.wait_for_event("policy-failed")
        assert told["hook"] == "on_message" and "RuntimeError: a mistake" in told["error"]
        daemon.send("a@example.org", ["e@held.example"])
        [row] = in_json(daemon, "route", "e@held.example")
        assert (row["channel"], row["rule"].endswith('rule "policy file"')) == ("held", True)
        # A hook that raises while mail is routed: deferred, and the attempt is counted.
        daemon.send("a@example.org", ["f@broken.example"])
        daemon.wait_until(
            lambda: any(
                one["recipients"][0]["attempts"] == 1
                for one in listed(daemon, "domain=broken.example")
            ),
            what="the attempt is counted",
        )
        message = daemon.base / "m"
        message.write_text("X-Test: local\nSubject: t\n\nx\n")
        words = ("inject", "-f", "a@example.org", "-r", "g@example.com", str(message))
        assert postroom(daemon, *words)[0] == 0
        daemon.wait_until(lambda: len(listed(daemon, "state=held")) == 2, what="it is held too")


@pytest.mark.seed(18)
def test_a_changed_file_is_taken_by_a_reload_and_a_broken_one_changes_nothing() -> None:
    with SinkThread() as sink, server(sink) as daemon:
        path = daemon.base / "policy.py"
        path.write_text("def on_message(message:\n")
        code, text = postroom(daemon, "reload")
        assert code != 0 and f"{path}:1: " in text
        assert postroom(daemon, "check")[0] == 78
        assert daemon.send("a@example.org", ["b@refused.example", "b@example.com"])
        path.write_text(
            "from postroom.hooks import Refuse\n"
            "def on_connect(client):\n    return Refuse('closed today')\n"
        )
        assert postroom(daemon, "reload")[0] == 0
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            daemon.send("a@example.org", ["b@example.com"])
        assert refused.value.smtp_code == 554 and b"closed today" in refused.value.smtp_error
        sink.wait_for(1)


def test_mail_that_was_left_while_the_server_was_down_is_shown_to_the_policy_as_well() -> None:
    refuses = FILE.replace(
        "def on_message(message):",
        "def on_message(message):\n    if message.header('X-No'):\n        return Refuse('never')",
    )
    with SinkThread() as sink, server(sink, refuses) as daemon:
        assert daemon.stop() == 0
        for header in ("X-Test: local", "X-No: 1", "Subject: crash", "Subject: fine"):
            words = ("sendmail", "-i", "-f", "a@example.org", "g@example.com")
            assert postroom(daemon, *words, stdin=f"{header}\n\nx\n")[0] == 0
        daemon.start()
        sink.wait_for(1)
        daemon.wait_until(lambda: len(listed(daemon, "state=held")) == 2, what="two are held")
        reasons = {one["hold"] for one in listed(daemon, "state=held")}
        assert reasons == {"a test: local", "refused by the policy file: 550 5.7.1 never"}
        # The one whose hook failed waits where it is, to be asked about again.
        claimed = daemon.base / "spool" / "maildrop" / "claimed"
        [waits] = claimed.glob("queue*/*")
        assert b"Subject: crash" in waits.read_bytes() and len(sink.messages) == 1
