"""Sources are paused: by an operator, or as a provider blocks one; the others take the mail."""

from __future__ import annotations

import re
from typing import Any

from tests.scenarios.test_sources import A, B, clients, pool, send, source
from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

BOTH = source("a", A) + source("b", B) + pool("a", "b")
BLOCKS = "connect={} reply=554 5.7.1 Client host [{}] blocked using zen.dnsbl.example"


def listed(daemon: Daemon) -> dict[str, Any]:
    return {one["name"]: one for one in in_json(daemon, "source", "list")}


def test_an_operator_pauses_sources_and_mail_goes_by_the_others_or_waits() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=BOTH) as daemon:
        code, text = postroom(daemon, "source", "pause", "a", "--reason", "new PTR")
        assert code == 0 and text == "a: paused by an operator, until it is resumed: new PTR\n"
        send(daemon, 0, 20)
        sink.wait_for(20)
        assert clients(sink) == {B: 20}
        assert postroom(daemon, "source", "pause", "b", "--site", "relay:default")[0] == 0
        send(daemon, 20, 6)
        reason = "source a is paused: new PTR; source b is paused towards relay:default"
        daemon.wait_until(lambda: reason in binds(daemon), what=reason)
        # It is kept over a restart, and changed while the server is down.
        assert daemon.stop() == 0
        assert postroom(daemon, "source", "pause", "a", "--for", "1h")[0] == 0
        code, text = postroom(daemon, "check")
        assert code == 0 and re.search("source a: paused by an operator, for (1h|59m)", text), text
        daemon.start()
        code, text = postroom(daemon, "source", "list")
        assert code == 1 and re.search("a: paused by an operator, for (1h|59m)", text), text
        assert listed(daemon)["b"]["pauses"][0]["site"] == "relay:default"
        assert len(sink.messages) == 20
        assert postroom(daemon, "source", "resume", "a") == (0, "source a is ready\n")
        sink.wait_for(26)
        assert clients(sink) == {A: 6, B: 20}
        code, text = postroom(daemon, "source", "pause", "aa")
        assert code != 0 and "did you mean a?" in text
        assert postroom(daemon, "source", "pause", "a", "--for", "soon")[0] == 2


def binds(daemon: Daemon) -> str:
    answers = in_json(daemon, "why", "example.com")
    return " ".join(lane["binds"] for one in answers for lane in one["lanes"])


def test_a_pause_ends_by_itself() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=BOTH) as daemon:
        for name in ("a", "b"):
            assert postroom(daemon, "source", "pause", name, "--for", "3s")[0] == 0
        send(daemon, 0, 4)
        assert not sink.messages
        sink.wait_for(4, 10)
        daemon.wait_until(
            lambda: not any(one["pauses"] for one in listed(daemon).values()), what="both are over"
        )


def test_a_source_that_a_site_blocks_costs_no_mail_and_is_left_alone_by_all_queues() -> None:
    rule = BLOCKS.format(A, A)
    with SinkThread(rule) as sink, Daemon(relay=sink.port, queues=2, config=BOTH) as daemon:
        send(daemon, 0, 40)
        sink.wait_for(40)
        assert clients(sink) == {B: 40}
        paused = daemon.wait_for_event("source-paused")
        assert (paused["source"], paused["site"]) == ("a", "relay:default")
        assert "blocked using zen" in paused["reason"] and paused["is_automatic"]
        # A host that takes nothing from one of our addresses is not down.
        names = {event["event"] for event in daemon.log()}
        assert not names & {"deferred", "failed", "host-down", "site-suspended"}, names
        before = sink.counters.replies.get("554", 0)
        daemon.kill_all()
        daemon.start()
        # What was delivered just before the crash may come twice.
        send(daemon, 40, 20)
        daemon.wait_until(lambda: len(set(sink.recipients)) == 60, what="all is delivered")
        assert sink.counters.replies.get("554", 0) == before and set(clients(sink)) == {B}
        assert listed(daemon)["a"]["pauses"][0]["is_automatic"]
        assert postroom(daemon, "source", "resume", "a")[0] == 0
        send(daemon, 60, 10)
        daemon.wait_until(lambda: len(set(sink.recipients)) == 70, what="all is delivered")
        assert sink.counters.replies["554"] > before, "it was tried again, and is paused again"
        daemon.wait_for_event("source-paused", 2)


def test_where_every_source_is_blocked_mail_is_deferred_and_not_failed() -> None:
    rules = BLOCKS.format(A, A), BLOCKS.format(B, B)
    with SinkThread(*rules) as sink, Daemon(relay=sink.port, queues=1, config=BOTH) as daemon:
        send(daemon, 0, 3)
        daemon.wait_for_event("source-paused", 2)
        daemon.wait_for_event("deferred")
        assert daemon.recipients_left() == 3 and not daemon.events("failed")
