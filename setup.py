"""What pyproject.toml cannot say: manual pages made while a wheel is built, and compiled modules.

The pages come from the command line's own definition (postroom.cli.manual), so no copy of them is
kept in the repository. They go to share/man of wherever the wheel is installed.

POSTROOM_COMPILE=1 has mypyc compile the modules on the way of every message (see
docs/how-to/deploy.md).
The source is the same, and its modules as they are remain the reference.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from setuptools import Distribution, setup

ROOT = Path(__file__).resolve().parent
InstallData: Any = Distribution().get_command_class("install_data")


COMPILED = {
    "core": "clock ids",
    "delivery": "agent connection hop_order pool run smtp_agent tally",
    "engine": (
        "active admission distributor intake judge kinds pump rounds settle tallies tasks walk"
    ),
    "ingress": "gate handover session",
    "observe": "lines log",
    "queueing": "*",
    "routing": "cache",
    "shaping": "*",
    "smtp": "*",
    "spool/embedded": (
        "committer contents group group_record journal_writer recent records segments store writer"
    ),
}
"""What is compiled, by package: what a message goes through."""

_INTERPRETED = re.compile(r"^class \w+\(msgspec\.Struct", re.MULTILINE)
"""mypyc makes no classes whose metaclass takes arguments; what has one stays as it is."""


def compiled() -> list[str]:
    """Return the files to compile."""
    files = []
    for package, names in COMPILED.items():
        directory = ROOT / "src" / "postroom" / package
        found = [directory / f"{name}.py" for name in names.split()]
        for file in sorted(directory.glob("*.py")) if names == "*" else found:
            if not _INTERPRETED.search(file.read_text()):
                files.append(str(file.relative_to(ROOT)))
    return files


def extensions() -> list[Any]:
    """Return what mypyc compiles where that is asked for."""
    if os.environ.get("POSTROOM_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    return list(mypycify(compiled(), opt_level="3", debug_level="0"))


class InstallManual(InstallData):
    """Makes the pages, and has them installed."""

    def run(self) -> None:
        """Make them in a directory of their own, which is gone afterwards."""
        sys.path.insert(0, str(ROOT / "src"))
        from postroom.cli.manual import write

        with tempfile.TemporaryDirectory() as directory:
            places: dict[str, list[str]] = {}
            for path in write(Path(directory)):
                places.setdefault(f"share/man/{path.parent.name}", []).append(str(path))
            self.data_files = [*places.items()]
            super().run()


setup(
    # Not empty, or the command above is not called at all.
    data_files=[("share/man", [])],
    cmdclass={"install_data": InstallManual},
    ext_modules=extensions(),
)
