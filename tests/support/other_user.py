"""A server that root starts and that serves as another user, for tests of who it is.

The interpreter may lie where only root gets (below /root): then the server runs in a mount
namespace of its own in which the way there is open and shows nothing else.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import ROOT

USER = "nobody"

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can start a server that becomes another user; run as root"
)

_OPENED = r"""
set -e
places="$1"; closed="$2"; shift 2
held="$(mktemp -d)"
mount -t tmpfs -o mode=755 none "$held"
n=0
for place in $places; do
    n=$((n + 1)); mkdir "$held/$n"; mount --bind "$place" "$held/$n"
done
for one in $closed; do mount -t tmpfs -o mode=755 none "$one"; done
n=0
for place in $places; do
    n=$((n + 1)); mkdir -p "$place"; mount --bind "$held/$n" "$place"
done
exec "$@"
"""


def user_ids() -> tuple[int, int]:
    """Return user and group of the other user."""
    entry = pwd.getpwnam(USER)
    return entry.pw_uid, entry.pw_gid


def reachable_command(*command: str) -> tuple[str, ...]:
    """Return a command line under which the other user reaches our interpreter and source."""
    places = [str(Path(sys.base_prefix).resolve()), str(ROOT)]
    closed = {str(found) for place in places if (found := _first_closed(Path(place))) is not None}
    if not closed:
        return command
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip(f"{closed} is closed to {USER}, and there are no mount namespaces to open it")
    behind = [one for one in places if any(Path(one).is_relative_to(shut) for shut in closed)]
    script = ("sh", "-c", _OPENED, "sh", " ".join(behind), " ".join(sorted(closed)))
    return ("unshare", "-m", *script, *command)


def _first_closed(place: Path) -> Path | None:
    for directory in (*reversed(place.parents), place):
        if not directory.stat().st_mode & 0o001:
            return directory
    return None
