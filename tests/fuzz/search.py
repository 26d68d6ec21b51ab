"""The long search: one target after the other, guided by coverage where atheris is installed.

What is found on the way is kept below build/fuzz/TARGET and begun with the next time. A finding
is a file there; it is printed with the command that plays it again, and ends the search of its
target only.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import corpus_files
from tests.fuzz.mutate import mutations
from tests.fuzz.target import Target, load

WORK = Path("build/fuzz")
ONE_S_MAX = 20
"""An input that takes longer is a finding."""
MEMORY_MIB_MAX = 1024
"""A process that grows above this is a finding."""


@dataclass
class Searched:
    """What became of one search."""

    name: str
    inputs: int
    seconds: float
    findings: list[Path]


def search(name: str, seconds: float, seed: int, *, guided: bool) -> Searched:
    """Search one target, print its findings."""
    place = WORK / name
    for part in ("corpus", "findings"):
        (place / part).mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    before = set((place / "findings").iterdir())
    run = _guided if guided else _unguided
    inputs = run(name, place, seconds, seed)
    found = sorted(set((place / "findings").iterdir()) - before)
    for path in found:
        print(
            f"FINDING {name}: {path}\n  play it again: make fuzz-replay TARGET={name} FILE={path}"
        )
    return Searched(name, inputs, time.monotonic() - begun, found)


def has_atheris() -> bool:
    """Say whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def _guided(name: str, place: Path, seconds: float, seed: int) -> int:
    target = load(name)
    begin, words = place / "begin", place / "words"
    begin.mkdir(exist_ok=True)
    for octets in corpus_files.kept(target):
        (begin / corpus_files.file_name(octets)).write_bytes(octets)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words if word))
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-seed={seed}",
        f"-max_len={target.octets_max}",
        f"-timeout={ONE_S_MAX}",
        f"-rss_limit_mb={MEMORY_MIB_MAX}",
        f"-artifact_prefix={place}/findings/",
        f"-dict={words}",
        "-print_final_stats=1",
        str(place / "corpus"),
        str(begin),
    ]
    log = place / "log"
    with log.open("wb") as output:
        subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", name, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            env=os.environ | {"PYTHONHASHSEED": str(seed % 2**32)},
        )
    said = log.read_text("utf-8", "replace")
    counted = re.findall(r"stat::number_of_executed_units: *(\d+)|^#(\d+)\s", said, re.MULTILINE)
    inputs = max((int(a or b) for a, b in counted), default=0)
    if not inputs:
        raise RuntimeError(f"{name}: the search did not begin; see {log}")
    return inputs


def _unguided(name: str, place: Path, seconds: float, seed: int) -> int:
    target = load(name)
    until = time.monotonic() + seconds
    begin = corpus_files.kept(target)
    changed = mutations(begin, target.words, target.octets_max, seed)
    for inputs, octets in enumerate(changed, 1):
        if time.monotonic() >= until:
            return inputs
        if not plays(target, octets):
            (place / "findings" / f"crash-{corpus_files.file_name(octets)}").write_bytes(octets)
            return inputs
    raise AssertionError("mutations end")


def plays(target: Target, octets: bytes) -> bool:
    """Try one input; say whether all held, and print where it did not."""
    try:
        target.try_one(octets)
    except Exception:
        traceback.print_exc()
        return False
    return True


def _escaped(word: bytes) -> str:
    return "".join(
        chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\x{one:02X}" for one in word
    )
