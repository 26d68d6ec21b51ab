"""The corpus: inputs kept beside the tests, a few small files for each target.

A file is named by the beginning of its SHA-1. Findings that were mended are among them, so
that they are tried again by each `make test`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.fuzz.target import Target

KEPT = Path(__file__).parent / "corpus"
FILES_MAX = 50
OCTETS_MAX = 4096


def kept(target: Target) -> list[bytes]:
    """Return the inputs of a target: those of its module, and those that were kept."""
    directory = KEPT / target.name
    files = sorted(directory.iterdir()) if directory.is_dir() else []
    return [*target.seeds, *(one.read_bytes() for one in files)]


def file_name(octets: bytes) -> str:
    """Return the name of the file for an input."""
    return hashlib.sha1(octets, usedforsecurity=False).hexdigest()[:12]
