"""Which messages leave a transcript: those that stay in the queue after a failure."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from postroom.channels.policy import ChannelPolicy, RetrySchedule
from postroom.core.ids import QueueId, encode
from postroom.delivery.attempt import Attempt, AttemptReport
from postroom.engine.steering import Steering
from postroom.spool.memory import MemoryStore
from postroom.spool.transcripts import TranscriptFiles
from tests.sim.loop import run
from tests.support.engine import Bench, ScriptedAgent, deferred, delivered, failed

SAID = "> RCPT TO:<a@d1.test>\n< 451 4.3.2 busy, come again"


def wordy(report: AttemptReport) -> AttemptReport:
    """The report of an agent that kept what was said."""
    return msgspec.structs.replace(report, transcript=SAID)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_hundred_successes_leave_no_transcript(tmp_path: Path) -> None:
    async def scene() -> None:
        # SEEDS row 5.
        files = TranscriptFiles(tmp_path)
        bench = Bench(ScriptedAgent(), transcripts=files)
        bench.engine.start()
        for number in range(100):
            await bench.put(f"a{number}@d1.test")
        await asyncio.sleep(60)
        assert len(bench.agent.attempts) == 100
        await bench.engine.stop(1)
        files.close()
        assert names(tmp_path) == set()

    run(scene())


def test_a_deferred_message_has_a_transcript_until_it_is_delivered(tmp_path: Path) -> None:
    async def scene() -> None:
        answers = [deferred, deferred, delivered]
        agent = ScriptedAgent(lambda attempt: wordy(answers.pop(0)(attempt)))
        files = TranscriptFiles(tmp_path)
        bench = Bench(agent, transcripts=files)
        bench.engine.start()
        queue_id = QueueId(await bench.put("a@d1.test"))
        await asyncio.sleep(400)
        text = await files.read(queue_id)
        assert text.count(SAID) == 2 and " attempt 1, site " in text and " attempt 2, " in text
        await asyncio.sleep(2000)
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)
        files.close()
        assert names(tmp_path) == set()

    run(scene())


def test_a_message_that_failed_as_a_whole_leaves_none_and_its_other_recipients_keep_one(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        def answer(attempt: Attempt) -> AttemptReport:
            kind = {"d1.test": failed, "d2.test": deferred}.get(
                attempt.destination.domain, delivered
            )
            return wordy(kind(attempt)) if kind is not delivered else delivered(attempt)

        files = TranscriptFiles(tmp_path)
        bench = Bench(ScriptedAgent(answer), transcripts=files)
        bench.engine.start()
        await bench.put("a@d1.test")
        both = await bench.put("a@d1.test", "b@d2.test")
        await asyncio.sleep(60)
        await bench.engine.stop(1)
        files.close()
        assert names(tmp_path) == {both}

    run(scene())


def test_what_a_crash_left_behind_is_swept_and_the_rest_stays(tmp_path: Path) -> None:
    async def scene() -> None:
        store = MemoryStore()
        first = Bench(ScriptedAgent(deferred), store=store)
        kept = await first.put("a@d1.test")
        gone = [encode(1_600_000_000_000, 1, number) for number in range(1200)]
        for name in [kept, *gone]:
            (tmp_path / name).write_text("= said\n")
        files = TranscriptFiles(tmp_path)
        bench = Bench(ScriptedAgent(deferred), store=store, transcripts=files)
        bench.engine.start()
        while len(names(tmp_path)) > 1:
            await asyncio.sleep(1)
        await bench.engine.stop(1)
        files.close()
        assert names(tmp_path) == {kept}

    run(scene())


def test_a_message_that_an_operator_deletes_takes_its_transcript_along(tmp_path: Path) -> None:
    async def scene() -> None:
        # No second attempt while the thread is waited for, in which virtual time flies.
        retry = RetrySchedule(first_s=1e8, max_s=1e8, jitter=0.0, lifetime_s=1e9)
        channels = [ChannelPolicy("default", retry=retry, delay_warning_s=0)]
        files = TranscriptFiles(tmp_path)
        agent = ScriptedAgent(lambda a: wordy(deferred(a)))
        bench = Bench(agent, channels, transcripts=files)
        steering = Steering(bench.store, bench.engine, bench.events, bench.clock, files)
        bench.engine.start()
        queue_id = QueueId(await bench.put("a@d1.test"))
        await asyncio.sleep(5)
        assert SAID in await steering.transcript(queue_id)
        await steering.delete((queue_id,))
        assert await steering.transcript(queue_id) == ""
        await bench.engine.stop(1)
        files.close()
        assert names(tmp_path) == set()

    run(scene())


def test_a_directory_that_cannot_be_written_to_harms_no_delivery(tmp_path: Path) -> None:
    async def scene() -> None:
        files = TranscriptFiles(tmp_path / "nowhere")
        answers = [deferred, delivered]
        agent = ScriptedAgent(lambda attempt: wordy(answers.pop(0)(attempt)))
        bench = Bench(agent, transcripts=files)
        bench.engine.start()
        await bench.put("a@d1.test")
        await asyncio.sleep(2000)
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)
        files.close()

    run(scene())
