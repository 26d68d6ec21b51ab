"""Files of transcripts: bounded, in order, and never in anybody's way."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from postroom.core.ids import QueueId, encode
from postroom.spool.transcripts import BACKLOG_MAX, FILE_OCTETS_MAX, TranscriptFiles

ID = encode(1_700_000_000_000, 1, 1)
OTHER = encode(1_700_000_000_000, 1, 2)


def test_entries_are_read_in_order_and_are_gone_after_removal(tmp_path: Path) -> None:
    async def scene() -> None:
        files = TranscriptFiles(tmp_path)
        files.add(ID, "one\n")
        files.add(ID, "two\n")
        files.add(OTHER, "three\n")
        assert await files.read(ID) == "one\ntwo\n"
        assert (tmp_path / ID).stat().st_mode & 0o777 == 0o600
        files.remove((ID,))
        assert await files.read(ID) == ""
        assert await files.read(OTHER) == "three\n"
        files.close()

    asyncio.run(scene())


def test_a_file_keeps_the_newest_entries_and_stays_small(tmp_path: Path) -> None:
    async def scene() -> None:
        files = TranscriptFiles(tmp_path)
        for number in range(200):
            files.add(ID, f"= attempt {number}\n" + "< 450 4.2.0 later, please\n" * 40)
        files.add(OTHER, "x" * 1_000_000)
        text = await files.read(ID)
        assert (tmp_path / ID).stat().st_size <= FILE_OCTETS_MAX
        assert text.startswith("= earlier attempts are left out\n")
        assert all(
            line.startswith(("= ", "< 450 4.2.0 later, please")) for line in text.split("\n")[:-1]
        )
        assert "= attempt 199\n" in text and "= attempt 100\n" not in text
        assert (tmp_path / OTHER).stat().st_size <= FILE_OCTETS_MAX
        files.close()

    asyncio.run(scene())


def test_all_transcripts_are_listed_and_other_files_are_not(tmp_path: Path) -> None:
    async def scene() -> None:
        ids = {encode(1_700_000_000_000, 1, number) for number in range(1200)}
        for queue_id in ids:
            (tmp_path / queue_id).touch()
        (tmp_path / "README").touch()
        files = TranscriptFiles(tmp_path)
        listed: list[QueueId] = []
        async for batch in files.batches():
            listed += batch
        assert len(listed) == len(ids) and set(listed) == ids
        files.close()

    asyncio.run(scene())


def test_a_directory_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    async def scene() -> None:
        files = TranscriptFiles(tmp_path / "nowhere")
        files.add(ID, "one\n")
        files.remove((ID,))
        assert await files.read(ID) == ""
        assert [batch async for batch in files.batches()] == []
        files.close()
        files.add(ID, "after the end")
        files.remove((ID,))

    asyncio.run(scene())


def test_a_disk_that_hangs_holds_nobody_up_and_no_memory(tmp_path: Path) -> None:
    class Hanging(TranscriptFiles):
        def __init__(self, directory: Path) -> None:
            super().__init__(directory)
            self.healed = threading.Event()
            self.appended = 0

        def _append(self, queue_id: QueueId, octets: bytes) -> None:
            self.healed.wait(30)
            self.appended += 1

    files = Hanging(tmp_path)
    for _ in range(3 * BACKLOG_MAX):
        files.add(ID, "one\n")
    files.healed.set()
    files.close()
    assert files.appended == BACKLOG_MAX
