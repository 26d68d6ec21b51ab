"""What an operator does from the command line, with the server up and with it down."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from postroom import Client
from tests.support.command_line import listed, postroom
from tests.support.daemon import ROOT, Daemon
from tests.support.sink import SinkThread

MESSAGE = "From: a@example.org\nTo: b@example.net\nSubject: x\n\nhello\n"
SLOW_RETRY = '[channel.default]\nretry = "list 1h for 2d"\n'


def test_deferred_mail_is_seen_held_released_run_and_delivered() -> None:
    with (
        SinkThread("rcpt=*@grey.example greylist=100ms") as sink,
        Daemon(relay=sink.port, queues=2, config=SLOW_RETRY) as daemon,
    ):
        code, out = postroom(
            daemon, "inject", "-r", "b@grey.example", "-r", "c@grey.example", stdin=MESSAGE
        )
        queue_id = out.strip()
        assert code == 0 and len(queue_id) == 16
        daemon.wait_for_event("deferred", 2)
        assert [m["id"] for m in listed(daemon, "state=deferred")] == [queue_id]
        code, out = postroom(daemon, "mail", "show", queue_id)
        assert "waiting, 1 attempt, next try in" in out and "2 of 2 not final" in out
        assert postroom(daemon, "mailq")[1].endswith("Total requests: 1\n")

        assert postroom(daemon, "mail", "hold", queue_id) == (0, "1 message held\n")
        assert [m["state"] for m in listed(daemon)] == ["held"]
        # A hold is stronger than a wish to run; the release then finds the message due.
        assert postroom(daemon, "mail", "run", "all")[0] == 0
        assert [m["state"] for m in listed(daemon)] == ["held"] and not sink.messages
        assert postroom(daemon, "mail", "release", "all") == (0, "1 message released\n")
        messages = sink.wait_for(2)
        content = MESSAGE.replace("\n", "\r\n").encode()
        assert all(message.octets.endswith(content) for message in messages)
        assert all(message.octets.count(b"Received:") == 1 for message in messages)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")
        assert postroom(daemon, "mailq") == (0, "Mail queue is empty\n")
        assert [len(daemon.events(name)) for name in ("held", "released")] == [1, 1]

        postroom(daemon, "inject", "-r", "d@grey.example", stdin=MESSAGE)
        daemon.wait_for_event("deferred", 3)
        asked = ("mail", "run", "domain=grey.example")
        assert postroom(daemon, *asked) == (0, "1 message due now\n")
        sink.wait_for(3)


def test_a_transcript_tells_what_was_said_and_goes_with_its_message() -> None:
    with (
        SinkThread("rcpt=*@grey.example reply=450 4.2.0 not yet") as sink,
        Daemon(relay=sink.port, queues=1, config=SLOW_RETRY) as daemon,
    ):
        for number in range(20):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        queue_id = postroom(daemon, "inject", "-r", "b@grey.example", stdin=MESSAGE)[1].strip()
        sink.wait_for(20)
        daemon.wait_for_event("deferred")
        code, out = postroom(daemon, "mail", "show", queue_id, "--transcript")
        assert code == 0 and "> RCPT TO:<b@grey.example>\n< 450 4.2.0 not yet\n" in out
        code, shown = postroom(daemon, "mail", "show", queue_id, "--transcript", "--json")
        assert json.loads(shown)["transcript"] == out
        transcripts = daemon.base / "spool" / "queue1" / "xf"
        assert [path.name for path in transcripts.iterdir()] == [queue_id]
        daemon.stop()
        assert postroom(daemon, "mail", "show", queue_id, "--transcript") == (0, out)
        assert postroom(daemon, "mail", "delete", queue_id)[0] == 0
        assert list(transcripts.iterdir()) == []


def test_status_and_queue_list_show_every_queue_and_delete_forgets() -> None:
    with (
        SinkThread("rcpt=* reply=450 4.2.0 later") as sink,
        Daemon(relay=sink.port, queues=2, config=SLOW_RETRY) as daemon,
    ):
        for _ in range(3):
            postroom(daemon, "inject", stdin=MESSAGE)
        daemon.wait_for_event("deferred", 3)
        code, out = postroom(daemon, "status")
        assert code == 0 and "queue1  running" in out and "queue2  running" in out
        assert postroom(daemon, "queue", "list")[0] == 0
        assert postroom(daemon, "reload")[1] == "generation 2 is in force\n"
        code, out = postroom(daemon, "mail", "delete", "all", "--dry-run")
        assert out.startswith("3 messages would be deleted")
        assert postroom(daemon, "mail", "delete", "all") == (0, "3 messages deleted\n")
        assert daemon.recipients_left() == 0
        daemon.wait_for_event("deleted", 3)


def test_delivery_is_suspended_and_resumed_by_a_command() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        assert postroom(daemon, "delivery", "suspend") == (0, "delivery is suspended\n")
        postroom(daemon, "inject", stdin=MESSAGE)
        daemon.wait_until(lambda: daemon.queue(1).state == "suspended")
        assert "delivery suspended" in postroom(daemon, "status")[1] and not sink.messages
        assert postroom(daemon, "delivery", "resume") == (0, "delivery is running\n")
        sink.wait_for(1)


def test_mail_sent_while_the_server_is_down_is_delivered_once_when_it_starts() -> None:
    with SinkThread() as sink:
        daemon = Daemon(relay=sink.port, queues=2)
        try:
            for number in range(5):
                words = ("sendmail", "-i", "-f", "a@example.org", f"r{number}@example.net")
                assert postroom(daemon, *words, stdin="Subject: x\n\n.\nend\n") == (0, "")
            daemon.start()
            messages = sink.wait_for(5)
            assert sorted(sink.recipients) == [f"r{n}@example.net" for n in range(5)]
            assert all(m.octets.endswith(b"\r\n\r\n.\r\nend\r\n") for m in messages)
            assert postroom(daemon, "sendmail", "-t", stdin=MESSAGE) == (0, "")
            sink.wait_for(6)
        finally:
            daemon.__exit__(None, None, None)


def test_listings_and_verbs_work_after_the_server_stopped() -> None:
    with (
        SinkThread("rcpt=* reply=450 4.2.0 later") as sink,
        Daemon(relay=sink.port, queues=2, config=SLOW_RETRY) as daemon,
    ):
        queue_id = postroom(daemon, "inject", stdin=MESSAGE)[1].strip()
        daemon.wait_for_event("deferred")
        daemon.stop()
        assert [m["id"] for m in listed(daemon)] == [queue_id]
        assert "450 4.2.0 later" in postroom(daemon, "mailq")[1]
        assert postroom(daemon, "mail", "hold", queue_id, "--reason", "odd")[0] == 0
        assert postroom(daemon, "status")[0] == 75
        daemon.start()
        assert [m["hold"] for m in listed(daemon, "state=held")] == ["odd"]


def test_the_python_client_returns_the_id_of_a_durable_message() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:

        async def many() -> list[str]:
            sends = [
                client.asend(MESSAGE, sender="", recipients=[f"r{number}@example.net"])
                for number in range(40)
            ]
            return await asyncio.gather(*sends)

        with Client(daemon.base / "spool") as client:
            first = [client.send(MESSAGE) for _ in range(3)]
            ids = asyncio.run(many())
        assert len({*first, *ids}) == 43
        sink.wait_for(43)
        daemon.wait_for_event("accepted", 43)
        accepted = {event["id"] for event in daemon.events("accepted")}
        assert {*first, *ids} <= accepted


def test_serve_says_where_it_listens_and_what_to_try_next(tmp_path: Path) -> None:
    daemon = Daemon(queues=1)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "postroom", "--config", str(daemon.file), "serve"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if "mailq" in line:
                break
        text = "".join(said)
        assert "listening on 127.0.0.1:" in text and str(daemon.base / "spool") in text
        assert "smtplib" in text
        assert ("swaks --server" in text) is (shutil.which("swaks") is not None)
        code, out = postroom(daemon, "serve")
        assert code == 75 and "already running" in out
        assert postroom(daemon, "stop")[0] == 0
        assert server.wait(20) == 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        daemon.__exit__(None, None, None)
