"""Mail is pinned to the queues of its group, and a message for several groups is split."""

from __future__ import annotations

import shutil
import smtplib
import subprocess
import time

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONTENT = "Subject: t\r\n\r\nx\r\n"
GROUPS = """
[listen.smtp]
address = ["127.0.0.1:0"]
[listen.bulk]
address = ["127.0.0.1:0"]
[group.german]
queues = [2]
match = [".de"]
[group.news]
queues = [3]
senders = ["news@example.org"]
listeners = ["bulk"]
"""


def where(daemon: Daemon, count: int) -> list[tuple[str, int]]:
    """Return (queue, recipients) of the accepted messages, in no order."""
    daemon.wait_for_event("accepted", count)
    return sorted((event["queue"], event["recipients"]) for event in daemon.events("accepted"))


@pytest.mark.seed(11)
def test_domain_sender_and_listener_pin_mail_to_the_queues_of_a_group() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=3, config=GROUPS) as daemon:
        daemon.send("a@example.org", ["b@web.de"])
        assert where(daemon, 1)[-1] == ("queue2", 1)
        daemon.send("news@example.org", ["b@example.com"])
        assert where(daemon, 2)[-1] == ("queue3", 1)
        daemon.send("a@example.org", ["b@example.com"])
        assert where(daemon, 3)[0] == ("queue1", 1)
        bulk = list(daemon.ports.values())[1]
        with smtplib.SMTP("127.0.0.1", bulk, timeout=20) as client:
            client.sendmail("a@example.org", ["c@example.com"], CONTENT)
        assert where(daemon, 4) == [("queue1", 1), ("queue2", 1), ("queue3", 1), ("queue3", 1)]
        sink.wait_for(4)


@pytest.mark.seed(11)
def test_the_rule_that_decides_is_told_with_its_place_in_the_file() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=3, config=GROUPS) as daemon:
        code, text = postroom(daemon, "route", "b@web.de")
        line = daemon.file.read_text().splitlines().index("queues = [2]") + 1
        assert code == 0 and f'group german ({daemon.file}:{line}): recipients ".de"' in text
        assert "queue2, least-loaded" in text and "channel:  default" in text
        [row] = in_json(daemon, "route", "b@example.com", "--sender", "news@example.org")
        assert (row["group"], row["queues"], row["channel"]) == ("news", [3], "default")
        [row] = in_json(daemon, "route", "b@example.com", "--listener", "bulk")
        assert row["group"] == "news"


def test_a_message_for_several_groups_becomes_one_for_each() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=3, config=GROUPS) as daemon:
        recipients = ["a@web.de", "b@example.com", "c@gmx.de", "d@example.com"]
        daemon.send("a@example.org", recipients)
        assert where(daemon, 2) == [("queue1", 2), ("queue2", 2)]
        [split] = daemon.events("split")
        ids = {event["id"] for event in daemon.events("accepted")}
        assert split["id"] in ids and ids == set(split["into"])
        sink.wait_for(4)
        assert sorted(sink.recipients) == sorted(recipients)


@pytest.mark.seed(15)
def test_where_a_group_has_no_queue_its_mail_is_refused_for_now_and_nothing_is_kept() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=3, config=GROUPS) as daemon:
        assert postroom(daemon, "queue", "drain", "2")[0] == 0
        daemon.wait_until(lambda: daemon.queue(2).room == 0, what="everybody can see it")
        for recipients in (["b@web.de"], ["b@example.com", "b@web.de"]):
            with pytest.raises(smtplib.SMTPDataError) as refused:
                daemon.send("a@example.org", recipients)
            assert refused.value.smtp_code == 451
            assert b"no queue of group german takes mail now" in refused.value.smtp_error
        assert daemon.events("accepted") == [] and sink.messages == []
        daemon.send("a@example.org", ["b@example.com"])
        assert where(daemon, 1) == [("queue1", 1)]


@pytest.mark.seed(8)
def test_the_queues_of_a_group_may_go_without_syncs_and_it_is_said_loudly() -> None:
    fast = GROUPS.replace("senders", 'sync = "none"\nsenders')
    with SinkThread() as sink, Daemon(relay=sink.port, queues=3, config=fast) as daemon:
        assert (
            "group.news.sync: none: mail of these queues is acknowledged before"
            in (postroom(daemon, "check")[1])
        )
        pids = {number: daemon.queue(number).pid for number in (1, 3)}
        syncs = dict.fromkeys(pids, 0)
        for number, sender in ((1, "a@example.org"), (3, "news@example.org")):
            with Syncs(pids[number]) as counted:
                for place in range(20):
                    daemon.send(sender, [f"r{place}@example.com"])
                syncs[number] = counted.stop()
        sink.wait_for(40)
        # The event stream is synced about once a second, by a thread of its own.
        assert syncs[1] >= 20 and syncs[3] <= 5, syncs


class Syncs:
    """Counts the calls by which a process asks for a sync, with strace."""

    CALLS = "trace=fsync,fdatasync,io_submit,pwritev2,sync_file_range"

    def __init__(self, pid: int) -> None:
        if shutil.which("strace") is None:
            pytest.skip("strace is not installed: it counts the syncs (apt install strace)")
        self._process = subprocess.Popen(
            ["strace", "-f", "-q", "-e", self.CALLS, "-p", str(pid)],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stderr is not None
        time.sleep(0.5)  # until it is attached: it does not say so

    def __enter__(self) -> Syncs:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def stop(self) -> int:
        self._process.terminate()
        _, text = self._process.communicate(timeout=20)
        return sum(
            line.count(b"fsync(") + line.count(b"fdatasync(") + line.count(b"io_submit(")
            + (line.count(b"pwritev2(") if b"DSYNC" in line else 0)
            for line in text.splitlines()
        )  # fmt: skip


def test_mistakes_in_groups_are_told_with_file_and_line() -> None:
    wrong = (
        '[group.a]\nqueues = [1]\nmatch = ["mx:*.google.com"]\n'
        '[group.b]\nqueues = [1, 2]\nplacement = "weighted"\nweights = [1]\nlisteners = ["x"]\n'
        "[group.c]\nusers = ['me']\n"
    )
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        daemon.write_config(wrong)
        code, text = postroom(daemon, "check")
        assert code == 78
        for part in (
            'group.a.match: "mx:*.google.com" is for MX hosts',
            "group.b.queues: queue1 is in group.a; expected one group",
            "group.b.weights: 1 weights for 2 queues",
            'group.b.listeners: there is no listener "x"; expected local, maildrop, smtp',
            "group.c.queues: missing",
        ):
            assert part in text, text
