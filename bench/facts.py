"""What a reader must know of the machine that gave some figures."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime

from tools.doc_block import commit, processor


def machine(directory: str) -> dict[str, str]:
    """Return the facts, by name; queues lie below `directory`."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": f"{os.cpu_count()} x {processor()}, {_memory_gib():.0f} GiB",
        "kernel": f"Linux {platform.release()}",
        "disk": f"{_file_system(directory)}; a synced write of 4 KiB takes "
        f"{sync_ms(directory):.2f} ms",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": f"{os.getloadavg()[0]:.1f}",
    }


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _file_system(directory: str) -> str:
    return subprocess.run(
        ["df", "--output=fstype", directory], capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]


def sync_ms(directory: str) -> float:
    """Return the median time of a small synced append, in milliseconds."""
    times = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(50):
            before = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - before)
    return statistics.median(times) * 1000
