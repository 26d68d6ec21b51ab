"""Records of idempotency keys: durable, one for each key, forgotten after a while."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from postroom.api.keys import Keys, KeyState, Part, Record
from postroom.api.problem import Problem

RECORD = Record("t1", "order", b"digest", 1000.0, parts=(Part("d25p0s33ec8hv000", 1),))


def with_keys(base: Path, script: Callable[[Keys], Awaitable[None]]) -> None:
    async def run() -> None:
        keys = Keys(base)
        try:
            await script(keys)
        finally:
            keys.close()

    asyncio.run(run())


def test_a_record_is_there_for_whoever_opens_the_file_next(tmp_path: Path) -> None:
    async def write(keys: Keys) -> None:
        assert await keys.find("t1", "order") is None
        await keys.begin(RECORD)
        await keys.begin(msgspec.structs.replace(RECORD, scope="t2"))
        await keys.change(
            msgspec.structs.replace(RECORD, state=KeyState.KEPT, answer=b"{}"), RECORD
        )

    async def read(keys: Keys) -> None:
        kept = await keys.find("t1", "order")
        assert kept == msgspec.structs.replace(RECORD, state=KeyState.KEPT, answer=b"{}")
        assert [one.scope for one in await keys.unfinished(1001.0, 10)] == ["t1", "t2"]

    with_keys(tmp_path, write)
    assert stat.S_IMODE((tmp_path / "console" / "keys.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "console").stat().st_mode) == 0o700
    with_keys(tmp_path, read)


def test_two_that_open_a_new_file_at_once_both_can(tmp_path: Path) -> None:
    async def run() -> None:
        every = [Keys(tmp_path) for _ in range(6)]
        found = await asyncio.gather(*(one.find("a", "b") for one in every))
        for one in every:
            one.close()
        assert found == [None] * 6

    asyncio.run(run())


def test_a_key_is_begun_once(tmp_path: Path) -> None:
    async def script(keys: Keys) -> None:
        await keys.begin(RECORD)
        with pytest.raises(Problem) as caught:
            await keys.begin(RECORD)
        assert caught.value.status == 503
        await keys.forget(RECORD)
        await keys.begin(RECORD)

    with_keys(tmp_path, script)


def test_only_what_is_done_is_forgotten_by_age(tmp_path: Path) -> None:
    async def script(keys: Keys) -> None:
        for place, state in enumerate(KeyState):
            record = msgspec.structs.replace(RECORD, key=str(place))
            await keys.begin(record)
            await keys.change(msgspec.structs.replace(record, state=state), record)
        assert await keys.forget_old(999.0) == 0
        assert await keys.forget_old(1001.0) == 1
        assert await keys.find("t1", str(int(KeyState.DONE))) is None
        assert len(await keys.unfinished(1001.0, 10)) == 3
        assert len(await keys.unfinished(1000.0, 10)) == 2

    with_keys(tmp_path, script)


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "console").write_text("a file in the way")

    async def script(keys: Keys) -> None:
        with pytest.raises(Problem) as caught:
            await keys.find("a", "b")
        assert caught.value.status == 503
        assert "keys.db" in caught.value.body.remedy

    with_keys(tmp_path, script)


def test_a_record_is_changed_by_whoever_saw_it_as_it_is(tmp_path: Path) -> None:
    async def script(keys: Keys) -> None:
        await keys.begin(RECORD)
        kept = msgspec.structs.replace(RECORD, state=KeyState.KEPT)
        moved = msgspec.structs.replace(RECORD, parts=(Part(RECORD.parts[0].id, 2),))
        dropped = msgspec.structs.replace(RECORD, state=KeyState.DROPPED)
        await keys.change(kept, RECORD)
        for late in (moved, dropped):
            with pytest.raises(Problem) as caught:
                await keys.change(late, RECORD)
            assert caught.value.status == 409
        with pytest.raises(Problem):
            await keys.forget(dropped)
        assert await keys.find("t1", "order") == kept

    with_keys(tmp_path, script)
