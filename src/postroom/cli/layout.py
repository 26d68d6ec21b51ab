"""`postroom queue layout`: where the parts of a queue lie, and moving them.

With the server up it does it while it runs; with it down it is done right here.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from postroom.cli.output import (
    FINDING,
    OK,
    TEMPORARY,
    fail,
    print_json,
    print_table,
    warn,
)
from postroom.cli.queue_verbs import number_of
from postroom.cli.queues import queue_directories
from postroom.cli.reach import Spool, master
from postroom.control.answers import LayoutProgress
from postroom.control.client import ServerUnavailable
from postroom.control.commands import QueueLayoutArgs
from postroom.control.ownership import act_as_owner
from postroom.core.units import format_size
from postroom.spool.embedded import lock_base
from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.parts import MEANING, PARTS, read_record
from postroom.spool.errors import QueueBusy, QueueUnusable
from postroom.supervisor.layout_change import relocation_of

OWN = "."


def layout(options: argparse.Namespace) -> int:
    """`queue layout`."""
    spool = Spool(options)
    number = number_of(options.queue)
    directory = queue_directories(spool.base).get(number)
    if directory is None:
        fail(f"there is no queue{number}", "see them: postroom queue list")
    wanted = {
        part: "" if given == OWN else str(Path(given).absolute())
        for part in PARTS
        if (given := getattr(options, part)) is not None
    }
    try:
        if wanted and options.dry_run:
            return _try(spool, number, wanted, as_json=options.json)
        if wanted:
            _move(spool, number, wanted)
        return _show(number, directory, as_json=options.json)
    except QueueBusy as error:
        fail(str(error), "a server is starting or stopping: try again", TEMPORARY)
    except (QueueUnusable, OSError) as error:
        fail(f"queue{number}: {error}", "nothing was changed")


def _show(number: int, directory: Path, *, as_json: bool) -> int:
    disk, missing = RealDisk(), False
    record = read_record(disk, directory)
    rows: list[tuple[object, ...]] = []
    shown = {}
    for part in PARTS:
        place = record.place(directory, part)
        is_there = place.is_dir()
        missing |= not is_there
        free = disk.free_space(place).octets if is_there else 0
        rows.append((part, MEANING[part], place, format_size(free) if is_there else "MISSING"))
        shown[part] = {"path": str(place), "outside": bool(getattr(record, part)), "free": free}
    if as_json:
        print_json({"queue": number, "directory": str(directory), "parts": shown})
    else:
        print_table(("PART", "HOLDS", "DIRECTORY", "FREE"), rows)
    return FINDING if missing else OK


def _try(spool: Spool, number: int, wanted: dict[str, str], *, as_json: bool) -> int:
    relocation = relocation_of(spool.configuration().spool, number, wanted)
    relocation.check()
    if as_json:
        moves = {
            move.part: {"from": str(move.old), "to": str(move.new)} for move in relocation.moves
        }
        print_json({"queue": number, "moves": moves, "octets": relocation.total_octets})
        return OK
    for move in relocation.moves:
        print(f"{move.part} would move from {move.old} to {move.new}")
    print(f"{format_size(relocation.total_octets)} would be copied")
    return OK


def _move(spool: Spool, number: int, wanted: dict[str, str]) -> None:
    try:
        with master(spool) as client:
            for progress in client.stream(
                "queue layout", QueueLayoutArgs(number, wanted), LayoutProgress
            ):
                _tell(progress.copied_octets, progress.total_octets)
            return
    except ServerUnavailable:
        pass
    act_as_owner(spool.base)
    lock = lock_base(Path(spool.base))
    try:
        relocation = relocation_of(spool.configuration().spool, number, wanted)
        if not relocation.moves:
            return
        relocation.prepare()
        try:
            relocation.finish()
        except BaseException:
            relocation.undo()
            raise
    finally:
        lock.release()


def _tell(copied: int, total: int) -> None:
    if sys.stderr.isatty():
        warn(f"{format_size(copied)} of {format_size(total)} copied")
