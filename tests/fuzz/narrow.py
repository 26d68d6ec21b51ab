"""Which inputs are worth keeping: those that reach lines that the ones before do not.

Small inputs are tried first. Lines of the target's modules are noted by `sys.settrace`, so this
is slow and needs nothing installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz import corpus_files
from tests.fuzz.target import Target, load


def narrow(name: str, found: Path) -> int:
    """Make the kept corpus of a target anew from what it has and what was found."""
    target = load(name)
    kept = corpus_files.KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    old = sorted(kept.iterdir())
    files = [*(found.iterdir() if found.is_dir() else ()), *old]
    # Those of regressions are kept whatever they reach.
    fixed = [path for path in old if path.name.startswith("mended-")]
    inputs = {path.read_bytes() for path in files if path not in fixed}
    seen: set[tuple[str, int, int]] = set()
    for octets in [*target.seeds, *(path.read_bytes() for path in fixed)]:
        seen |= _reached(target, octets)
    chosen: list[bytes] = []
    for octets in sorted(inputs, key=lambda one: (len(one), one)):
        if len(octets) > corpus_files.OCTETS_MAX:
            continue
        reached = _reached(target, octets)
        if reached - seen and len(chosen) + len(fixed) < corpus_files.FILES_MAX:
            seen |= reached
            chosen.append(octets)
    for path in old:
        if path not in fixed:
            path.unlink()
    for octets in chosen:
        (kept / corpus_files.file_name(octets)).write_bytes(octets)
    if not chosen and not fixed:
        kept.rmdir()
    return len(chosen) + len(fixed)


def _reached(target: Target, octets: bytes) -> set[tuple[str, int, int]]:
    """Return the steps from line to line in the target's modules."""
    parts = tuple("/" + one.replace(".", "/") for one in target.modules)
    steps: set[tuple[str, int, int]] = set()

    def within(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not any(part in name for part in parts):
            return None
        last = frame.f_lineno

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            steps.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return line

        return line

    sys.settrace(within)
    try:
        target.try_one(octets)
    finally:
        sys.settrace(None)
    return steps
