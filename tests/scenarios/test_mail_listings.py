"""What people see of the queues: listings, quarantined mail, and a verb that is stopped."""

from __future__ import annotations

import asyncio
import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from postroom.core.clock import SystemClock
from postroom.core.ids import QueueIdGenerator
from postroom.core.message import Envelope, NewMessage, Recipient
from postroom.observe.events import EventList
from postroom.spool.embedded import ManifestQueue, open_store, prepare_base
from postroom.spool.policy import SpoolPolicy
from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONFIG = '[channel.bulk]\nmatch = ["bulk.example"]\nretry = "list 1h for 2d"\n'
CONFIG += '[channel.default]\nretry = "list 1h for 2d"\n'
CONFIG += '[group.default]\nplacement = "round-robin"\n'
STILL = "[channel.default]\nconcurrency = 0\n"
SENDER_AT = 48
MANY = 12_000


@pytest.mark.seed(54)
def test_mailq_lists_all_queues_with_states_reasons_channels_and_the_total() -> None:
    with (
        SinkThread("rcpt reply=450 4.2.0 Try later") as sink,
        Daemon(relay=sink.port, queues=3, config=CONFIG) as daemon,
    ):
        daemon.send_each("a@example.org", [f"r{n}@bulk.example" for n in range(4)])
        daemon.wait_for_event("deferred", 4)
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        daemon.send("", ["w@example.com", "v@example.com"])
        held = listed(daemon, "recipient=r0@bulk.example")[0]["id"]
        assert postroom(daemon, "mail", "hold", held, "--reason", "looked at")[0] == 0
        code, out = postroom(daemon, "mailq")
        assert code == 0, out
        lines = out.splitlines()
        assert lines[-1] == "Total requests: 5"

        # Each queue under the name of its directory, with its own number.
        def by_queue() -> dict[int, int]:
            return {q.queue: q.messages for q in daemon.status().queues}

        # Workers say how they are about once a second.
        daemon.wait_until(lambda: sum(by_queue().values()) == 5, what="all are counted")
        numbers = by_queue()
        for number, messages in numbers.items():
            name = f"{daemon.base}/spool/queue{number}"
            noun = "request" if messages == 1 else "requests"
            line = f"\t\t{name} ({messages} {noun})" if messages else f"\t\t{name} is empty"
            assert line in lines, (line, out)

        # Under each message, at one indent: why it waits, by which channel, and for whom.
        starts = {line[:16]: index for index, line in enumerate(lines) if line[:1].isalnum()}
        messages = {m["id"]: m for m in listed(daemon)}
        for queue_id, message in messages.items():
            first = lines[starts[queue_id]]
            assert first[SENDER_AT:] == (message["sender"] or "<>")
            assert first[16] == {"held": "!", "waiting": "*", "deferred": " "}[message["state"]]
            block = lines[starts[queue_id] + 1 :]
            block = block[: block.index("")]
            assert {len(line) - len(line.lstrip()) for line in block} == {SENDER_AT}, first
            shown = "\n".join(block)
            for recipient in message["recipients"]:
                assert recipient["address"] in shown and f"channel {recipient['channel']}" in shown
            if message["state"] == "held":
                assert "(looked at)" in shown
            elif message["state"] == "deferred":
                assert "(deferred until " in shown and "450 4.2.0 Try later)" in shown
            else:
                assert message["state"] == "waiting" and "(waiting channel default)" in shown
        assert {m["state"] for m in messages.values()} == {"held", "deferred", "waiting"}

        # The same in JSON, and exact numbers at once.
        assert in_json(daemon, "mailq") == list(messages.values())
        counts = in_json(daemon, "mailq", "--counts")
        assert sum(row["counts"]["messages"] for row in counts) == 5
        assert {row["queue"]: row["counts"]["messages"] for row in counts} == numbers


@pytest.mark.seed(57)
def test_quarantined_mail_is_set_released_and_culled_by_filter_and_never_by_default() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon:
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        daemon.send_each("a@example.org", [f"r{n}@bulk.example" for n in range(3)])
        daemon.send_each("a@example.org", [f"r{n}@example.com" for n in range(2)])
        words = ("mail", "quarantine", "domain=bulk.example", "--reason", "a campaign gone wrong")
        assert postroom(daemon, *words) == (0, "3 messages quarantined\n")

        # By default they are not listed, and it is said how many they are.
        for command in (["mail", "list"], ["mailq"]):
            _, out = postroom(daemon, *command)
            name = "mailq" if command == ["mailq"] else "postroom mail list"
            assert f"3 quarantined messages not shown: {name} -Q" in out.splitlines(), out
            assert "bulk.example" not in out and out.count("@example.com") == 2
            code, out = postroom(daemon, *command, "-Q")
            assert code == 0 and out.count("@bulk.example") == 3 and "@example.com" not in out
            assert "a campaign gone wrong" in out and "not shown" not in out
        assert postroom(daemon, "mailq")[1].endswith("Total requests: 5\n")
        # Programs are given everything, and filters name them like all other mail.
        assert [m["state"] for m in listed(daemon)].count("quarantined") == 3
        assert len(listed(daemon, "state=quarantined")) == 3
        assert len(listed(daemon, "state=held")) == 0

        # Nothing but a filter releases or culls them: all other mail goes, over a restart too.
        assert postroom(daemon, "delivery", "resume")[0] == 0
        postroom(daemon, "mail", "run", "all")
        daemon.wait_until(lambda: len(listed(daemon)) == 3, what="the others are delivered")
        daemon.stop()
        daemon.start()
        assert len(listed(daemon, "state=quarantined")) == 3
        dry = postroom(daemon, "mail", "delete", "state=quarantined", "--dry-run")[1]
        assert dry.splitlines()[0] == "3 messages would be deleted" and len(dry.splitlines()) == 4
        culled = postroom(daemon, "mail", "delete", "state=quarantined", "recipient=r0@*")
        assert culled == (0, "1 message deleted\n")
        released = postroom(daemon, "mail", "release", "state=quarantined", "recipient=r1@*")
        assert released == (0, "1 message released\n")
        sink.wait_for(3)
        assert sorted(sink.recipients) == ["r0@example.com", "r1@bulk.example", "r1@example.com"]
        assert [m["recipients"][0]["address"] for m in listed(daemon)] == ["r2@bulk.example"]


async def fill(queue: ManifestQueue, policy: SpoolPolicy, number: int) -> None:
    """Put many messages into a queue that nobody serves."""
    clock = SystemClock()
    store = open_store(queue.path, policy, events=EventList(), clock=clock)
    ids = QueueIdGenerator(random.Random(1))
    for start in range(0, number, 1000):
        now = clock.now()
        puts = [
            store.put(NewMessage(ids.next(now), now, envelope, (b"Subject: x\r\n\r\n",)))
            for envelope in [Envelope("a@example.org", (Recipient("r@example.com"),))]
            for _ in range(start, min(start + 1000, number))
        ]
        await asyncio.gather(*set(puts))
    await store.close()


def read_until(terminal: int, text: bytes, seconds: float = 60.0) -> bytes:
    """Return what is written to a terminal up to a text."""
    read, until = b"", time.monotonic() + seconds
    while text not in read:
        ready, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"not within {seconds} s: {text!r} in {read!r}"
        read += os.read(terminal, 4096)
    return read


def test_a_verb_that_is_stopped_says_truly_what_was_done(tmp_path: Path) -> None:
    policy = SpoolPolicy(base=str(tmp_path / "spool"), count=1)
    (queue,) = prepare_base(policy).queues
    asyncio.run(fill(queue, policy, MANY))
    with Daemon(relay=1, queues=1, config=STILL, base=tmp_path) as daemon:
        terminal, side = pty.openpty()
        command = [sys.executable, "-m", "postroom", "--config", str(daemon.file)]
        verb = subprocess.Popen(
            [*command, "mail", "hold", "all", "--reason", "stop"],
            stdout=subprocess.PIPE, stderr=side, env={**daemon.environment, "TERM": "xterm"},
        )  # fmt: skip
        os.close(side)
        try:
            # Its worker stands still, so that the verb cannot be over before it is stopped.
            read_until(terminal, b"mail hold in queue1")
            worker = daemon.queue(1).pid
            os.kill(worker, signal.SIGSTOP)
            try:
                verb.send_signal(signal.SIGINT)
                assert verb.poll() is None
            finally:
                os.kill(worker, signal.SIGCONT)
            out = verb.communicate(timeout=120)[0].decode()
        finally:
            os.close(terminal)
        assert verb.returncode == 130, out
        words = out.split()
        assert words[0] == "interrupted:", out
        assert words[2:] == ["of", str(MANY), "messages", "held"], out
        done = int(words[1])
        assert 0 < done < MANY
        assert daemon.counts(1)["held"] == done
        # The rest is done by the same words, and nothing is done twice.
        rest = postroom(daemon, "mail", "hold", "state=waiting")
        assert rest == (0, f"{MANY - done} messages held\n")
        daemon.wait_for_event("held", MANY)
        assert len({event["id"] for event in daemon.events("held")}) == MANY
