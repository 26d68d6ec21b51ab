"""Where the status board lies: on a memory file system where there is one.

BASE/run/board is what readers open; it is a link to a private directory on a memory file
system, or, where none can be used, the file itself.
Called by: supervisor.serve.  Raises: OSError where not even BASE/run can be written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from postroom.control.paths import RunPaths, make_private_directory
from postroom.observe.board import create_board


def place_board(base: str, rows: int, environment: Mapping[str, str]) -> Path:
    """Make a board of `rows` rows for the server at `base`; return where it really lies."""
    public = RunPaths(base).board
    make_private_directory(public.parent)
    name = "postroom-" + hashlib.sha256(os.fsencode(Path(base).resolve())).hexdigest()[:16]
    for parent in _memory_directories(environment):
        directory = parent / name
        try:
            if not _is_private(directory):
                continue
            create_board(directory / "board", rows)
            _link(public, directory / "board")
        except OSError:
            continue
        return directory / "board"
    # An older link would have the board made at its end.
    public.unlink(missing_ok=True)
    create_board(public, rows)
    return public


def remove_board(base: str, board: Path) -> None:
    """Take the board away when the server has ended."""
    with contextlib.suppress(OSError):
        RunPaths(base).board.unlink(missing_ok=True)
        board.unlink(missing_ok=True)
        if board.parent != RunPaths(base).directory:
            board.parent.rmdir()


def _memory_directories(environment: Mapping[str, str]) -> list[Path]:
    """Return directories on memory file systems, best first."""
    named = [environment.get(name, "") for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR")]
    candidates = [*named, "/run", "/dev/shm"]  # _is_private checks what is there
    return [Path(name) for name in candidates if name and _is_memory(name)]


def _is_memory(path: str) -> bool:
    """Say whether a path is on tmpfs, by the table of mounts (the longest prefix counts)."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
        real = os.path.realpath(path, strict=True)
    except OSError:
        return False
    best, kind = "", ""
    for line in mounts.splitlines():
        _device, point, type_, *_rest = line.split()
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, type_
    return kind == "tmpfs"


def _is_private(directory: Path) -> bool:
    """Make the directory; say whether it is ours alone (others may write to its parent)."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    status = directory.lstat()
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and status.st_mode & 0o077 == 0
    )


def _link(public: Path, board: Path) -> None:
    fresh = public.with_name("board.link")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(board)
    fresh.replace(public)
