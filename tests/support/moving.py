"""What every scenario of `postroom import` asks: what it said, and that the source is as it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

CONTENT = (
    b"From: <list@a.example>\r\nTo: <members@b.example>\r\nSubject: moving\r\n to us\r\n"
    b"Message-ID: <1@a.example>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n"
    b".a dot and \xe9\r\n..two\r\nFrom here\r\ntrailing \t\r\n" + b"x" * 900 + b"\r\n\r\n\r\n"
)


def snapshot(directory: Path) -> dict[str, tuple[int, float, str]]:
    """Return mode, time and digest of every file, to show that nothing changed."""
    return {
        str(path.relative_to(directory)): (
            path.lstat().st_mode,
            path.lstat().st_mtime,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def said(out: str) -> dict[str, Any]:
    """Return the summary of an import with --json."""
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result
