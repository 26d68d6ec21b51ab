"""Syncs in the background: asked of the kernel, heard of on the loop."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from postroom.spool.embedded.syncer import KernelSyncer, error_of, kernel_syncer


async def synced(syncer: KernelSyncer, descriptor: int) -> OSError | None:
    answer: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
    syncer.sync(descriptor, answer.set_result)
    assert not answer.done(), "never at once"
    return await asyncio.wait_for(answer, 10)


async def of_the_kernel(path: Path) -> list[OSError | None]:
    syncer = kernel_syncer()
    if syncer is None:
        pytest.skip("this kernel, or this sandbox, has no asynchronous I/O: a thread syncs")
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        answers = []
        for _ in range(5):
            os.write(descriptor, b"x" * 5000)
            answers.append(await synced(syncer, descriptor))
        reading, writing = os.pipe()
        answers.append(await synced(syncer, writing))  # nothing that could be synced
        os.close(reading)
        os.close(writing)
        return answers
    finally:
        syncer.close()
        os.close(descriptor)


def test_the_kernel_says_when_a_file_is_durable_and_what_cannot_be(tmp_path: Path) -> None:
    answers = asyncio.run(of_the_kernel(tmp_path / "file"))
    assert answers[:-1] == [None] * 5
    assert answers[-1] is not None and answers[-1].errno == errno.EINVAL


def test_an_error_of_the_kernel_is_read_with_its_sign() -> None:
    assert error_of(0) is None
    error = error_of((1 << 64) - errno.EIO)
    assert error is not None and error.errno == errno.EIO
