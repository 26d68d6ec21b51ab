"""A queue that a real Postfix wrote moves to us: envelope, content, time, holds, and once only.

A private Postfix relays to a sink that takes one recipient of a message and defers the other;
one message is on hold. Then Postfix stops, and its queue directory is imported.
"""

from __future__ import annotations

import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postfix
from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.moving import CONTENT, said, snapshot
from tests.support.sink import SinkThread

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(postfix.missing()), reason=postfix.missing() or "-"),
]


@pytest.fixture(scope="module")
def queue() -> Iterator[tuple[postfix.Postfix, float]]:
    """Give a Postfix that was stopped with mail deferred and on hold, and when it began."""
    began = time.time()
    rules = ("rcpt=later@* reply=451 4.2.0 not now",)
    with SinkThread(*rules) as sink, postfix.relaying(sink.port) as relay:
        relay.start()
        try:
            with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
                client.ehlo()
                client.mail("list@a.example", ["BODY=8BITMIME", "RET=HDRS", "ENVID=QQ+2B314"])
                options = ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;First+2Bx@b.example"]
                client.rcpt("later@b.example", options)
                client.rcpt("done@b.example")
                assert client.data(CONTENT)[0] == 250
            deferred = relay.base / "queue" / "deferred"
            until = time.monotonic() + 30
            while not (files := [p for p in deferred.rglob("*") if p.is_file()]):
                assert time.monotonic() < until, "Postfix did not defer"
                time.sleep(0.05)
            assert len(files) == 1
            with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
                client.sendmail("", ["later@held.example"], b"Subject: held\r\n\r\nx\r\n")
            while len(files := [p for p in deferred.rglob("*") if p.is_file()]) < 2:
                assert time.monotonic() < until, "Postfix did not defer"
                time.sleep(0.05)
            held = next(p for p in files if b"held.example" in p.read_bytes())
            command = [postfix.program("postsuper") or "", "-c", str(relay.base / "etc")]
            subprocess.run([*command, "-h", held.name], check=True, stderr=subprocess.DEVNULL)
            yield relay, began
        finally:
            relay.stop()


def test_a_queue_of_postfix_moves_once_and_whole(queue: tuple[postfix.Postfix, float]) -> None:
    relay, began = queue
    directory = str(relay.base / "queue")
    with SinkThread() as sink, Daemon(relay=sink.port) as server:
        code, out = postroom(server, "import", "--from", "postfix", directory)
        assert code == 75 and "still works on this queue" in out, out
        relay.stop()
        before = snapshot(Path(directory))
        assert postroom(server, "delivery", "suspend")[0] == 0

        code, out = postroom(
            server, "import", "--from", "postfix", "--dry-run", "--json", directory
        )
        assert code == 0, out
        assert said(out)["messages"] == 2 and said(out)["recipients_done"] == 1
        assert listed(server) == [] and not (server.base / "spool" / "imported").exists()

        code, out = postroom(server, "import", "--from", "postfix", "--json", directory)
        assert code == 0, out
        assert said(out)["messages"] == 2 and said(out)["held"] == 1, out
        assert snapshot(Path(directory)) == before
        first, second = sorted(listed(server), key=lambda one: one["sender"], reverse=True)
        assert [one["address"] for one in first["recipients"]] == ["later@b.example"]
        assert first["envid"] == "QQ+314"
        assert began - 1 < first["arrived_at"] < began + 30
        assert second["state"] == "held" and second["sender"] == ""

        code, out = postroom(server, "import", "--from", "postfix", "--json", directory)
        assert code == 0 and said(out)["messages"] == 0 and said(out)["already"] == 2

        # A message that was delivered is not taken again either.
        assert postroom(server, "delivery", "resume")[0] == 0
        server.wait_until(lambda: server.recipients_left() == 1, what="delivered")
        code, out = postroom(server, "import", "--from", "postfix", "--json", directory)
        assert said(out)["messages"] == 0 and said(out)["already"] == 2
        [mail] = sink.wait_for(1)
        assert mail.recipients == ("later@b.example",)
        assert mail.content.encode("latin-1").endswith(CONTENT)
        assert "RET=HDRS" in mail.parameters and "ENVID=QQ+2B314" in mail.parameters
        [parameters] = mail.recipient_parameters
        assert "NOTIFY=FAILURE,DELAY" in parameters
        assert "ORCPT=rfc822;First+2Bx@b.example" in parameters


def test_an_import_without_a_server_waits_in_the_maildrop(
    queue: tuple[postfix.Postfix, float],
) -> None:
    relay, began = queue
    relay.stop()
    directory = str(relay.base / "queue")
    with SinkThread("rcpt=*@* reply=451 4.2.0 not now") as sink:
        server = Daemon(relay=sink.port)
        try:
            code, out = postroom(server, "import", "--from", "postfix", "--json", directory)
            assert code == 0 and said(out)["messages"] == 2, out
            server.start()
            server.wait_until(lambda: len(listed(server)) == 2, what="picked up")
            states = {one["recipients"][0]["address"]: one for one in listed(server)}
            assert states["later@held.example"]["state"] == "held"
            assert abs(states["later@b.example"]["arrived_at"] - began) < 30
        finally:
            server.__exit__(None, None, None)
