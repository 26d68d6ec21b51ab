"""Runs a program under the system call filter of a systemd unit, without systemd.

    python -m tests.support.filtered UNIT COMMAND...

The unit's SystemCallFilter= lines are read, `systemd-analyze syscall-filter` says what its groups
mean, and libseccomp, which systemd itself uses, loads the filter: a call that is not on the list
fails with EPERM, as SystemCallErrorNumber= says.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import subprocess
import sys
from pathlib import Path

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_UNKNOWN = -1


def allowed_by(unit: Path) -> set[str]:
    """Return the names of the calls that a unit allows."""
    groups = _groups()
    names: set[str] = set()
    for line in unit.read_text("utf-8").splitlines():
        key, _, value = line.partition("=")
        if key != "SystemCallFilter":
            continue
        meant = {name for word in value.lstrip("~").split() for name in _expand(word, groups)}
        names = names - meant if value.startswith("~") else names | meant
    return names


def _groups() -> dict[str, list[str]]:
    listing = subprocess.run(
        ["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True
    ).stdout
    groups: dict[str, list[str]] = {}
    members: list[str] = []
    for line in listing.splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), [])
        elif line.startswith(" ") and not line.strip().startswith("#"):
            members.append(line.strip())
    return groups


def _expand(word: str, groups: dict[str, list[str]]) -> set[str]:
    if not word.startswith("@"):
        return {word}
    return {name for member in groups[word] for name in _expand(member, groups)}


def load(names: set[str]) -> None:
    """Allow this process, and what it runs, these calls and no others."""
    path = ctypes.util.find_library("seccomp")
    assert path, "libseccomp is missing"
    library = ctypes.CDLL(path)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO | errno.EPERM)))
    assert context
    for name in sorted(names | {"execve"}):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            continue
        # Calls of other machines than this one have numbers below zero, and are left out.
        if number >= 0:
            done = library.seccomp_rule_add_array(context, ctypes.c_uint32(_ALLOW), number, 0, None)
            assert done == 0, name
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    load(allowed_by(Path(sys.argv[1])))
    os.execvp(sys.argv[2], sys.argv[2:])
