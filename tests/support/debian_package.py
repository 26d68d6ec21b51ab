"""Programs of Debian packages that exclude each other: unpacked into a directory, not installed.

    with unpacked("exim4-daemon-light", libraries=("libidn12",)) as root: ...

Packages that 'make peers' fetched are taken from .peers/packages, others by apt-get with its
lists; `Missing` says why a program cannot be had here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

FETCHED = Path(__file__).resolve().parents[2] / ".peers" / "packages"
DOWNLOAD_DEADLINE_S = 30.0


class Missing(Exception):
    """The packages cannot be had; the text says why."""


@contextlib.contextmanager
def unpacked(*packages: str) -> Iterator[Path]:
    """Give a directory with the files of packages; no script of theirs is run."""
    if shutil.which("dpkg") is None:
        raise Missing("no dpkg here: the program is taken from a Debian package")
    base = Path(tempfile.mkdtemp(prefix="pr-peer-"))
    base.chmod(0o755)
    try:
        for package in packages:
            _unpack(package, base)
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _unpack(package: str, base: Path) -> None:
    fetched = sorted(FETCHED.glob(f"{package}_*.deb"))
    archive = fetched[-1] if fetched else _download(package, base)
    subprocess.run(["dpkg", "-x", str(archive), str(base)], check=True)
    if not fetched:
        archive.unlink()


def _download(package: str, base: Path) -> Path:
    try:
        subprocess.run(
            ["apt-get", "download", "-qq", package], cwd=base, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=DOWNLOAD_DEADLINE_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(
            f"the package {package} cannot be downloaded ({error}): 'make peers' fetches it"
        ) from error
    [archive] = base.glob("*.deb")
    return archive


def environment(base: Path) -> dict[str, str]:
    """Return an environment in which the libraries below `base` are found."""
    libraries = [*base.glob("lib/*-linux-*"), *base.glob("usr/lib/*-linux-*")]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}


def without_privileges(program: Path) -> Path:
    """Take set-user-id and set-group-id off a program: with them it ignores LD_LIBRARY_PATH."""
    program.chmod(0o755)
    return program
