"""Traces: every message is one trace in a collector, also where that was down; mail goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from postroom.webhooks.kept import Kept, KeptFiles
from tests.support.collector import Collector, values_of
from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

KEY = "Bearer hunter2"
GREY = "rcpt=*@grey.example greylist=100ms"
GONE = "rcpt=*@gone.example reply=550 5.1.1 No such user"
OUTCOMES = ("delivered", "deferred", "failed")


def config(collector: Collector, more: str = "") -> str:
    return f"""
[channel.default]
retry = "list 1s for 1h jitter 0%"
[webhook.traces]
format = "otlp"
url = "{collector.url}"
batch = 20
concurrency = 2
retry_max = "1s"
{more}
"""


def kept(daemon: Daemon) -> Kept | None:
    """What is written down of the webhook; None before it has its place in the stream."""
    return KeptFiles(str(daemon.base / "spool-events")).read("traces")


def refused(daemon: Daemon) -> int:
    """How many spans were refused."""
    known = kept(daemon)
    return known.refused if known is not None else 0


def send(daemon: Daemon, first: int) -> None:
    """Send 15 messages: mail that is taken, is deferred first, or comes back, in one report."""
    numbers = range(first, first + 10)
    daemon.send_each("me@home.example", [f"a{number}@take.example" for number in numbers])
    daemon.send_each("me@home.example", [f"b{number}@grey.example" for number in numbers[:4]])
    both = [f"c{first}@take.example", f"c{first}@gone.example", f"d{first}@gone.example"]
    daemon.send("me@home.example", both)


def is_done(daemon: Daemon) -> bool:
    """Say whether all mail is done, the reports about it as well."""
    events = daemon.log()
    known = {event["id"] for event in events if event["event"] in ("accepted", "report")}
    return known == {event["id"] for event in events if event["event"] == "done"}


def ids(daemon: Daemon) -> set[str]:
    """Return the messages that are done."""
    return {event["id"] for event in daemon.events("done")}


def rooted(collector: Collector) -> set[str]:
    """Return the messages whose root span was taken."""
    traces = collector.traces()
    return {one for one, spans in traces.items() if any(span.name == "message" for span in spans)}


def check(daemon: Daemon, traces: dict[str, list[Span]]) -> None:
    """Each message has one root, and a child for each of its outcomes, with its time."""
    outcomes = [event for event in daemon.log() if event["event"] in OUTCOMES]
    expected = Counter((event["id"], event["event"], event["recipient"]) for event in outcomes)
    found: Counter[tuple[str, str, str]] = Counter()
    for queue_id, spans in traces.items():
        [root] = [span for span in spans if span.name == "message"]
        assert not root.parent_span_id
        for span in spans:
            values = values_of(span.attributes)
            assert span.trace_id == root.trace_id
            assert root.start_time_unix_nano <= span.start_time_unix_nano
            assert span.start_time_unix_nano <= span.end_time_unix_nano <= root.end_time_unix_nano
            if span is not root:
                assert span.parent_span_id == root.span_id
            if span.name == "send":
                assert span.end_time_unix_nano > span.start_time_unix_nano
                outcome, recipient = values["postroom.outcome"], values["postroom.recipient"]
                found[queue_id, str(outcome), str(recipient)] += 1
    assert found == expected


def test_every_message_is_a_trace_also_after_the_collector_was_down(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    key.chmod(0o600)
    collector = Collector()
    with SinkThread(GREY, GONE) as sink:
        with collector:
            text = config(collector, f'authorization_file = "{key}"')
            daemon = Daemon(relay=sink.port, queues=2, config=text).start()
        try:
            with collector:
                daemon.wait_until(lambda: kept(daemon) is not None)
                code, out = postroom(daemon, "webhook", "test", "traces")
                assert (code, out.startswith("traces: taken in")) == (0, True), out
                assert [span.name for span in collector.spans()] == ["test"]
                collector.requests.clear()
                send(daemon, 0)
                # A report is a message, and a trace, too.
                daemon.wait_until(lambda: is_done(daemon) and len(collector.traces()) == 16)

            # Nobody listens: mail goes on, and the spans wait.
            send(daemon, 100)
            daemon.wait_until(lambda: is_done(daemon))
            daemon.wait_for_event("webhook-failing")
            code, out = postroom(daemon, "webhook", "list")
            assert (code, "failing" in out, "otlp" in out) == (1, True, True), out
            assert len(collector.traces()) == 16

            with collector:
                daemon.wait_until(lambda: len(collector.traces()) == 32)
                daemon.wait_for_event("webhook-recovered")
                # The last report may have been accepted, and is a trace, before it is done.
                daemon.wait_until(lambda: is_done(daemon) and rooted(collector) == ids(daemon))
                check(daemon, collector.traces())
                names = Counter(span.name for span in collector.spans())
                assert names["report"] == 4 and names["accept"] == 32
                [shown] = in_json(daemon, "webhook", "list")
                assert (shown["state"], shown["refused"]) == ("well", 0)
                assert collector.authorizations == {KEY}
            written = daemon.errors() + (daemon.base / "log").read_text() + out
            assert "hunter2" not in written
            assert daemon.stop() == 0
        finally:
            daemon.kill_all()


def test_spans_that_are_refused_are_told_and_dropped_and_the_next_ones_go_on() -> None:
    with Collector() as collector, SinkThread() as sink:
        collector.status = 400
        collector.answer = {"code": 3, "message": "no such tenant"}
        with Daemon(relay=sink.port, queues=1, config=config(collector)) as daemon:
            daemon.wait_until(lambda: kept(daemon) is not None)
            daemon.send("me@home.example", ["a@take.example"])
            told = daemon.wait_for_event("webhook-refused")
            assert told["error"] == "HTTP status 400: no such tenant" and told["spans"] >= 1
            daemon.wait_until(lambda: refused(daemon) == 3)
            code, out = postroom(daemon, "webhook", "list")
            assert (code, "refused" in out, "no such tenant" in out) == (1, True, True), out
            code, out = postroom(daemon, "webhook", "test", "traces")
            assert (code, "not taken: HTTP status 400" in out) == (1, True), out
            requests = collector.refused

            collector.status, collector.answer = 200, {}
            daemon.send("me@home.example", ["b@take.example"])
            daemon.wait_until(lambda: len(collector.spans()) == 3)
            assert list(collector.traces()) == [daemon.events("done")[-1]["id"]]
            assert collector.refused == requests, "what was refused is not sent again"
            daemon.wait_until(lambda: (known := kept(daemon)) is not None and not known.error)

            # Taken, but for one: neither sent again.
            collector.answer = {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "old"}}
            daemon.send("me@home.example", ["c@take.example"])
            daemon.wait_until(lambda: refused(daemon) >= 4)
            daemon.wait_until(lambda: len(collector.spans()) == 6)
            assert in_json(daemon, "webhook", "list")[0]["error"] == "partial success: old"
            sent = [span.span_id for span in collector.spans()]
            assert len(sent) == sum(len(one.resource_spans[0].scope_spans[0].spans)
                                    for one in collector.requests)  # fmt: skip
