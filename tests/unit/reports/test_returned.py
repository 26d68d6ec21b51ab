"""What of the original a DSN gives back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from postroom.core.message import MemoryContent
from postroom.reports.decide import ReportKind
from postroom.reports.returned import (
    FULL_MAX_OCTETS,
    HEADER_MAX_OCTETS,
    ReturnedContent,
    header_of,
    read_returned,
    returns_whole,
)

MESSAGE = b"Subject: x\r\nTo: y\r\n\r\nbody\r\n"
KIB = 1024


@pytest.mark.parametrize(
    ("kind", "ret", "size_octets", "whole"),
    [
        (ReportKind.FAILED, "", 50 * KIB, True),
        (ReportKind.FAILED, "", 51 * KIB, False),
        (ReportKind.FAILED, "FULL", 1024 * KIB, True),
        (ReportKind.FAILED, "FULL", 1024 * KIB + 1, False),
        (ReportKind.FAILED, "HDRS", 10, False),
        (ReportKind.DELAYED, "FULL", 10, False),
        (ReportKind.DELIVERED, "FULL", 10, False),
    ],
)
def test_only_a_failure_returns_the_whole(
    kind: ReportKind, ret: str, size_octets: int, whole: bool
) -> None:
    assert returns_whole(kind, ret, size_octets) is whole


@pytest.mark.parametrize("cut", range(1, len(MESSAGE)))
def test_the_header_is_found_wherever_the_pieces_end(cut: int) -> None:
    content = MemoryContent((MESSAGE[:cut], MESSAGE[cut:]))
    assert asyncio.run(read_returned(ReportKind.DELAYED, "", content)) == ReturnedContent(
        b"Subject: x\r\nTo: y\r\n"
    )
    whole = asyncio.run(read_returned(ReportKind.FAILED, "", content))
    assert whole == ReturnedContent(MESSAGE, True)


def test_no_more_is_read_than_is_returned() -> None:
    read = 0

    class Endless:
        size_octets = FULL_MAX_OCTETS * 1000
        parts = None

        async def chunks(self) -> AsyncIterator[bytes]:
            nonlocal read
            while True:
                read += 4096
                yield b"X-Filler: a\r\n" * 315

    found = asyncio.run(read_returned(ReportKind.FAILED, "FULL", Endless()))
    assert len(found.octets) <= HEADER_MAX_OCTETS
    assert found.octets.endswith(b"\r\n")
    assert read <= HEADER_MAX_OCTETS + 4096


def test_strange_headers_have_an_end() -> None:
    assert header_of(b"\r\nbody") == b""
    assert header_of(b"") == b""
    assert header_of(b"A: b\r\n") == b"A: b\r\n"
    assert header_of(b"A: b\r\nC: half") == b"A: b\r\n"
    assert header_of(b"x" * 100_000) == b""
