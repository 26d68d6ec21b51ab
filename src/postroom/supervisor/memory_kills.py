"""How many processes the kernel has killed because memory ran out, on this machine.

A worker that ends by SIGKILL was killed by an operator, or by the kernel for want of memory;
only the second may be the fault of the mail it was sending.
Called by: supervisor.fleet.  Raises: nothing.
"""

from __future__ import annotations

from pathlib import Path

VMSTAT = Path("/proc/vmstat")


def memory_kills(vmstat: Path = VMSTAT) -> int:
    """Return the kernel's count, of every limit of memory; 0 where it tells none."""
    try:
        lines = vmstat.read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.isdigit():
            return int(number)
    return 0
