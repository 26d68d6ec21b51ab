"""A worker that is stopped, or hangs, keeps no listing from the other queues."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.scenarios.test_command_line import MESSAGE, SLOW_RETRY, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread


@contextmanager
def one_of_three_stopped() -> Iterator[tuple[Daemon, dict[int, int]]]:
    """Give a server whose queue2 is stopped, and the messages of each queue."""
    with (
        SinkThread("rcpt=* reply=450 4.2.0 later") as sink,
        Daemon(relay=sink.port, queues=3, config=SLOW_RETRY) as daemon,
    ):
        while not (daemon.counts(1)["messages"] and daemon.counts(2)["messages"]):
            postroom(daemon, "inject", stdin=MESSAGE)

        def published() -> bool:
            return all(
                queue.messages == daemon.counts(queue.queue)["messages"]
                for queue in daemon.status().queues
            )

        daemon.wait_until(published, what="the board shows every message")
        held = {queue.queue: queue.messages for queue in daemon.status().queues}
        os.kill(daemon.queue(2).pid, signal.SIGSTOP)
        yield daemon, held


def test_listings_answer_from_the_other_queues_and_name_the_one_that_is_silent() -> None:
    with one_of_three_stopped() as (daemon, held):
        total, silent = sum(held.values()), f"{held[2]} message"

        def asked(*words: str) -> list[dict[str, Any]]:
            code, out = postroom(daemon, *words, "--json", hang_s=20)
            assert code == 1, out
            return [json.loads(line) for line in out.splitlines() if line.startswith("{")]

        *messages, absent = asked("mail", "list")
        assert len(messages) == total - held[2]
        assert (absent["queue"], absent["answering"]) == (2, False)
        assert absent["counts"]["messages"] == held[2]
        for words in (("mail", "list"), ("mailq",), ("mail", "count")):
            code, out = postroom(daemon, *words, hang_s=20)
            assert code == 1 and f"queue2 is not answering; {silent}" in out

        by_queue = {line["queue"]: line for line in asked("mailq", "--counts")}
        assert {queue: line["counts"]["messages"] for queue, line in by_queue.items()} == held
        assert [by_queue[queue].get("answering", True) for queue in (1, 2, 3)] == [
            True, False, True,
        ]  # fmt: skip
        code, out = postroom(daemon, "mailq", hang_s=20)
        noun = "request" if held[2] == 1 else "requests"
        assert f"queue2: not answering, last {held[2]} {noun}" in out
        assert out.endswith(f"Total requests: {total}\n")
        [count] = asked("mail", "count")
        assert (count["messages"], count["absent"]) == (total, [2])

        [status] = asked("status")
        assert [queue["answering"] for queue in status["queues"]] == [True, False, True]
        for words in (("status",), ("queue", "list")):
            code, out = postroom(daemon, *words, hang_s=20)
            [line] = [line for line in out.splitlines() if line.startswith("queue2")]
            assert code == 1 and "not answering" in line


def test_a_verb_is_done_where_it_can_be_and_says_where_it_was_not() -> None:
    with one_of_three_stopped() as (daemon, held):
        pid = daemon.queue(2).pid
        code, out = postroom(daemon, "mail", "hold", "all", hang_s=20)
        assert code == 1 and "queue2 is not answering" in out
        assert f"{sum(held.values()) - held[2]} message" in out
        os.kill(pid, signal.SIGCONT)
        daemon.wait_until(lambda: postroom(daemon, "status")[0] == 0, what="queue2 answers")
        code, out = postroom(daemon, "mail", "list", "state=held")
        assert code == 0 and "not answering" not in out
