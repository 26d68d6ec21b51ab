"""The reader of traces tells a reply that came after its sync from one that came before."""

from __future__ import annotations

import pytest

from tests.support.syscalls import check

SEG = "37</q/df/00000001.seg>"
WRITE = f'7 writev({SEG}, [{{iov_base="PRrc..d25sdvywmhhybg00", iov_len=32}}], 1) = 300'
SUBMIT = (
    "7 io_submit(0x7f, 1, [{aio_data=0xa0, aio_lio_opcode=IOCB_CMD_FDSYNC, "
    f"aio_fildes={SEG}}}]) = 1"
)
ANSWER = "7 io_getevents(0x7f, 0, 512, [{data=0xa0, obj=0xb0, res=0, res2=0}], {tv_sec=0}) = 1"
REPLY = '7 write(36<socket:[1]>, "250 2.0.0 d25sdvywmhhybg00 queued\\r\\n", 35) = 35'
DURABLE = WRITE.replace("writev", "pwritev2").replace(", 1) =", ", 1, 0, RWF_DSYNC) =")
MADE = '8 openat(AT_FDCWD</>, "/q/df/00000001.seg", O_RDWR|O_CREAT|O_EXCL, 0600) = 37'
NAME = "8 fsync(38</q/df>) = 0"


@pytest.mark.parametrize(
    "lines",
    [
        [WRITE, SUBMIT, ANSWER, REPLY],
        [DURABLE, REPLY],
        [WRITE, f"8 fdatasync({SEG}) = 0", REPLY],
        [MADE, DURABLE, NAME, REPLY],
        [WRITE, f"8 fdatasync({SEG} <unfinished ...>", "8 <... fdatasync resumed>) = 0", REPLY],
    ],
)
def test_a_reply_behind_its_sync_is_right(lines: list[str]) -> None:
    reading = check(lines)
    assert reading.violations == [] and reading.replies == 1 and reading.ways.total() == 1


@pytest.mark.parametrize(
    "lines",
    [
        [REPLY, WRITE, SUBMIT, ANSWER],
        [WRITE, REPLY, SUBMIT, ANSWER],
        [WRITE, SUBMIT, REPLY, ANSWER],
        [SUBMIT, WRITE, ANSWER, REPLY],
        [WRITE, SUBMIT, ANSWER.replace("res=0", "res=-5"), REPLY],
        [WRITE, f"8 fdatasync({SEG}) = -1 EIO (Input/output error)", REPLY],
        [WRITE, "8 fdatasync(39</q/df/00000002.seg>) = 0", REPLY],
        [WRITE, f"8 fdatasync({SEG} <unfinished ...>", REPLY, "8 <... fdatasync resumed>) = 0"],
        [MADE, DURABLE, REPLY, NAME],
    ],
)
def test_a_reply_before_its_sync_is_named(lines: list[str]) -> None:
    [violation] = check(lines).violations
    assert "d25sdvywmhhybg00" in violation
