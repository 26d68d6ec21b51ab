"""What pyproject.toml cannot say: the manual pages are made while a wheel is built.

They come from the command line's own definition (postroom.cli.manual), so no copy of them is kept
in the repository. They go to share/man of wherever the wheel is installed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from setuptools import Distribution, setup

ROOT = Path(__file__).resolve().parent
InstallData: Any = Distribution().get_command_class("install_data")


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
)
