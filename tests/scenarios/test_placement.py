"""Each message goes to a queue of its group as the placement says, however it came in."""

from __future__ import annotations

import smtplib
from collections import Counter

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONTENT = "Subject: t\r\n\r\nx\r\n"


def homes(daemon: Daemon, count: int) -> Counter[str]:
    """Return how many of the messages each queue accepted."""
    daemon.wait_for_event("accepted", count)
    return Counter(event["queue"] for event in daemon.events("accepted"))


def send_over_one_session(daemon: Daemon, senders: list[str]) -> None:
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) as client:
        for number, sender in enumerate(senders):
            client.sendmail(sender, [f"r{number}@example.com"], CONTENT)


@pytest.mark.seed(12)
def test_round_robin_spreads_the_mail_of_one_session_evenly() -> None:
    turns = '[group.default]\nplacement = "round-robin"\n'
    with SinkThread() as sink, Daemon(relay=sink.port, queues=3, config=turns) as daemon:
        send_over_one_session(daemon, ["a@example.org"] * 100)
        found = homes(daemon, 100)
        assert set(found) == {"queue1", "queue2", "queue3"}
        assert max(found.values()) - min(found.values()) <= 1
        sink.wait_for(100)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="all is delivered")
        assert len(sink.recipients) == 100


@pytest.mark.seed(12)
def test_weights_and_hashes_hold_over_one_session() -> None:
    weighted = (
        '[group.default]\nqueues = [1, 2, 3]\nplacement = "weighted"\nweights = [70, 20, 10]\n'
    )
    with SinkThread() as sink, Daemon(relay=sink.port, queues=3, config=weighted) as daemon:
        # So many that chance cannot turn the order round.
        send_over_one_session(daemon, ["a@example.org"] * 600)
        found = homes(daemon, 600)
        assert 360 <= found["queue1"] <= 480 and found["queue2"] > found["queue3"] > 0
        daemon.write_config('[group.default]\nplacement = "hash"\n')
        assert postroom(daemon, "reload")[0] == 0
        send_over_one_session(daemon, [f"s{number % 10}@example.org" for number in range(100)])
        daemon.wait_for_event("accepted", 700)
        by_sender: dict[str, set[str]] = {}
        for event in daemon.events("accepted")[600:]:
            by_sender.setdefault(event["reverse_path"], set()).add(event["queue"])
        assert len(by_sender) == 10 and all(len(queues) == 1 for queues in by_sender.values())
        assert len(set.union(*by_sender.values())) > 1


@pytest.mark.seed(13)
def test_a_queue_at_four_fifths_of_its_load_leaves_new_mail_to_idle_ones() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=3) as daemon:
        assert postroom(daemon, "load", "set", "1", "0.8")[0] == 0
        daemon.wait_until(lambda: daemon.queue(1).load_ppm == 800_000, what="queue1 is busy")
        for number in range(100):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        assert homes(daemon, 100)["queue1"] <= 2


@pytest.mark.seed(14)
def test_a_session_of_a_queue_that_takes_nothing_more_is_served_by_the_others() -> None:
    turns = '[group.default]\nplacement = "round-robin"\n'
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=turns) as daemon:
        send_over_one_session(daemon, ["a@example.org"] * 4)
        assert postroom(daemon, "queue", "drain", "2")[0] == 0
        daemon.wait_until(lambda: daemon.queue(2).room == 0, what="everybody can see it")
        before = homes(daemon, 4)
        send_over_one_session(daemon, ["a@example.org"] * 10)
        assert homes(daemon, 14) - before == {"queue1": 10}


@pytest.mark.seed(12)
def test_programs_of_this_machine_are_placed_likewise() -> None:
    turns = '[group.default]\nplacement = "round-robin"\n'
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=turns) as daemon:
        files = []
        for number in range(20):
            path = daemon.base / f"m{number}"
            path.write_text("Subject: t\n\nx\n")
            files.append(str(path))
        words = ("inject", "-f", "a@example.org", "-r", "b@example.com", *files)
        assert postroom(daemon, *words)[0] == 0
        found = homes(daemon, 20)
        assert min(found["queue1"], found["queue2"]) > 0
        sink.wait_for(20)
        [row] = in_json(daemon, "route", "b@example.com")
        assert (row["group"], row["placement"]) == ("default", "round-robin")
