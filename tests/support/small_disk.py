"""A file system of some MiB for tests: mounted by the test, really full when it is filled.

    with SmallDisk("ext4") as disk:
        (disk.path / "queue1").mkdir(mode=0o700)

Mounting needs root and, in a container, the capability SYS_ADMIN. Where it is not permitted
the test is skipped and says how to enable it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import pytest

SIZE_OCTETS = 24 * 1024 * 1024
_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_ENABLE = "run this as root, in a container with --cap-add SYS_ADMIN (for ext4: --privileged)"


class SmallDisk:
    """A mounted file system of `size_octets`: "tmpfs", or "ext4" in a file.

    It is mounted at `path`, which is made where it does not exist, or below a directory of its own.
    """

    def __init__(
        self, kind: str = "tmpfs", path: Path | None = None, size_octets: int = SIZE_OCTETS
    ) -> None:
        self.kind = kind
        self.checks = 0
        """How often e2fsck was needed before it could be mounted again."""
        self._size_octets = size_octets
        self._base = Path(tempfile.mkdtemp(prefix="pr-disk-"))
        self.path = path or self._base / "mount"
        self._ballast = self.path / "ballast"

    def __enter__(self) -> SmallDisk:
        self.path.mkdir(mode=0o700, exist_ok=True)
        if self.kind == "tmpfs":
            commands = [
                ["mount", "-t", "tmpfs", "-o", f"size={self._size_octets}", "tmpfs", "MOUNT"]
            ]
        else:
            image = self._base / "image"
            with image.open("wb") as file:
                file.truncate(self._size_octets)
            # No blocks kept for root: the server's notion of free space is everybody's. Blocks
            # as large disks have them: see "Failures" in docs/queue.md.
            commands = [
                ["mkfs.ext4", "-q", "-m", "0", "-b", "4096", str(image)],
                ["mount", "-o", "loop", str(image), "MOUNT"],
            ]
        for command in commands:
            self._try([str(self.path) if word == "MOUNT" else word for word in command])
        self.path.chmod(0o700)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A process that was just killed may still hold it: lazily, then.
        subprocess.run(["umount", "--lazy", str(self.path)], check=False, capture_output=True)
        shutil.rmtree(self._base, ignore_errors=True)

    def _try(self, command: list[str]) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            why = done.stderr.strip() if done.returncode else ""
        except OSError as error:
            why = str(error)
        if why:
            shutil.rmtree(self._base, ignore_errors=True)
            pytest.skip(f"no {self.kind} can be mounted ({why}): {_ENABLE}")

    @property
    def free_octets(self) -> int:
        """What is free."""
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize

    def fill(self, leave_octets: int = 0) -> None:
        """Write a file until no more than `leave_octets` are free."""
        with self._ballast.open("ab", buffering=0) as file:
            while (missing := self.free_octets - leave_octets) > 0:
                try:
                    file.write(bytes(min(missing, 1 << 20)))
                    os.fsync(file.fileno())
                except OSError:
                    return

    def fail(self) -> None:
        """Have every operation on it end with EIO from now on, as a dead device does (ext4).

        What was synced is there again after `come_back`; what was not may be lost.
        """
        assert self.kind == "ext4"
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def come_back(self) -> None:
        """Mount it anew, once nobody has a file of it open."""
        self.unmount()
        self.mount()

    def unmount(self) -> None:
        """Unmount it, once the processes that were just killed are gone."""
        for _ in range(500):
            done = subprocess.run(
                ["umount", str(self.path)], check=False, capture_output=True, text=True
            )
            if not done.returncode:
                return
            time.sleep(0.02)
        raise AssertionError(f"{self.path} cannot be unmounted: {done.stderr}")

    def mount(self) -> None:
        """Mount it again; the file system looks through its journal."""
        image = str(self._base / "image")
        command = ["mount", "-o", "loop", image, str(self.path)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            self.checks += 1
            subprocess.run(["e2fsck", "-p", image], check=False, capture_output=True)
            subprocess.run(command, check=True, capture_output=True)

    def make_room(self) -> None:
        """Remove that file."""
        self._ballast.unlink(missing_ok=True)
