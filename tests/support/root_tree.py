"""A small root file system for programs that insist on paths and users of their own.

    with unpacked("opensmtpd") as base:
        tree = RootTree(base, users={"opensmtpd": 601})
        tree.add_program(base / "usr/sbin/smtpd")
        subprocess.Popen(tree.command("/usr/sbin/smtpd", "-d"))

Programs of Debian packages that cannot be installed beside each other run below such a tree
by chroot, with the libraries of this machine, on the machine's network. Needs root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.debian_package import Missing, environment

_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


class RootTree:
    """The tree below `base`, in which packages were unpacked before."""

    def __init__(self, base: Path, users: Mapping[str, int]) -> None:
        """`users` are the names of accounts that the programs look for, with their numbers."""
        self.base = base
        for name in ("etc", "dev", "run", "tmp", "bin", "var"):
            (base / name).mkdir(exist_ok=True)
        (base / "tmp").chmod(0o1777)
        if not (base / "var" / "run").exists():
            (base / "var" / "run").symlink_to("/run")
        for name, minor in (("null", 3), ("urandom", 9)):
            try:
                os.mknod(base / "dev" / name, 0o020666, os.makedev(1, minor))
                (base / "dev" / name).chmod(0o666)
            except PermissionError as error:
                raise Missing(f"no device can be made here ({error})") from error
        everybody = {"root": 0, **users}
        self.write(
            "etc/passwd", "".join(f"{n}:x:{i}:{i}::/:/bin/sh\n" for n, i in everybody.items())
        )
        self.write("etc/group", "".join(f"{name}:x:{i}:\n" for name, i in everybody.items()))
        self.write("etc/hosts", "127.0.0.1 localhost\n")
        self.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
        self.add_program(Path("/bin/sh"))
        shutil.copy("/bin/sh", base / "bin" / "sh")

    def write(self, name: str, text: str | bytes, owner: int = 0, mode: int = 0o644) -> Path:
        """Write a file below the tree."""
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        path.chmod(mode)
        os.chown(path, owner, owner)
        return path

    def directory(self, name: str, owner: int = 0, mode: int = 0o755) -> Path:
        """Make a directory below the tree."""
        path = self.base / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        os.chown(path, owner, owner)
        return path

    def add_program(self, program: Path) -> None:
        """Bring in the libraries that a program needs; raise Missing where one is not here."""
        listed = subprocess.run(
            ["ldd", str(program)], env=environment(self.base), capture_output=True, text=True,
            check=False,
        ).stdout  # fmt: skip
        lacking = re.findall(r"(\S+) => not found", listed)
        if lacking:
            raise Missing(f"{program.name} needs {', '.join(lacking)}: 'make peers' installs it")
        for found in _LIBRARY.findall(listed):
            library = Path(found)
            if self.base in library.parents:
                continue
            target = self.base / found.lstrip("/")
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, target)

    def command(self, *words: str) -> list[str]:
        """Return the command that runs a program of the tree."""
        chroot = shutil.which("chroot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if chroot is None:
            raise Missing("there is no chroot program here")
        libraries = [
            "/" + str(path.relative_to(self.base))
            for pattern in ("lib/*-linux-*", "usr/lib/*-linux-*")
            for path in self.base.glob(pattern)
        ]
        return ["env", f"LD_LIBRARY_PATH={':'.join(libraries)}", chroot, str(self.base), *words]
