"""Mail comes in by SMTP, becomes durable, and goes out through a relay."""

from __future__ import annotations

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONTENT = "Subject: hello\r\nFrom: a@example.org\r\n\r\nfirst line\r\n.dot\r\n\r\nlast\r\n"


def test_a_message_arrives_with_its_content_and_one_received_header() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        assert daemon.send("a@example.org", ["b@example.com", "c@example.net"], CONTENT) == {}
        messages = sink.wait_for(2)
        assert {one for m in messages for one in m.recipients} == {
            "b@example.com", "c@example.net",
        }  # fmt: skip
        for message in messages:
            assert message.reverse_path == "a@example.org"
            header, _, rest = message.octets.partition(b"Subject: ")
            assert header.startswith(b"Received: from ")
            assert header.count(b"Received:") == 1
            assert b"Subject: " + rest == CONTENT.encode()
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")
        daemon.wait_for_event("delivered", 2)
        assert daemon.stop() == 0
    # TERM ends a server in good order: queues closed, workers with exit 0.


def test_many_messages_use_both_queues_and_each_arrives_once() -> None:
    count = 60
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        for number in range(count):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        sink.wait_for(count)
        assert sorted(sink.recipients) == sorted(f"r{n}@example.com" for n in range(count))
        status = daemon.status()
        assert [queue.state for queue in status.queues] == ["running", "running"]
        assert daemon.stop() == 0
        assert len(daemon.events("queue-closed")) == 2
        assert {event["status"] for event in daemon.events("worker-exited")} == {"exit 0"}
        assert not (daemon.base / "spool" / "run" / "control.sock").exists()


def test_a_refused_recipient_brings_a_report_to_the_sender() -> None:
    with (
        SinkThread("rcpt=*@refused.example reply=550 5.1.1 No such user") as sink,
        Daemon(relay=sink.port, queues=1) as daemon,
    ):
        daemon.send("a@example.org", ["b@refused.example", "c@example.com"])
        sink.wait_for(2)
        assert sorted(sink.recipients) == ["a@example.org", "c@example.com"]
        [report] = [m for m in sink.messages if m.recipients == ("a@example.org",)]
        assert report.reverse_path == ""
        assert b"550 5.1.1" in report.octets
