"""A target: what is fuzzed, and what must hold for any octets.

A target's `try_one` takes octets and does nothing where all properties hold; whatever it
raises is a finding. It is deterministic: the same octets do the same again, in any process.

Called by: tests.fuzz.registry and those who run targets.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.fuzz import targets

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where targets that read files make them: a disk would be most of their time."""


@dataclass(frozen=True)
class Target:
    """One target. `seeds` are inputs to begin with, `words` what a mutation may put in."""

    name: str
    try_one: Callable[[bytes], None]
    modules: Sequence[str]
    """Packages and modules whose branches guide the search."""
    seeds: Sequence[bytes] = ()
    words: Sequence[bytes] = ()
    octets_max: int = 4096


def spelt(text: str) -> list[bytes]:
    """Return the words of a text, written as in Python's strings, with " | " between them."""
    octets = [one.encode("latin-1").decode("unicode_escape") for one in text.split(" | ")]
    return [one.encode("latin-1") for one in octets]


@cache
def names() -> tuple[str, ...]:
    """Return the names of all targets; a target is a module of tests.fuzz.targets."""
    found = (one.name for one in pkgutil.iter_modules(targets.__path__))
    return tuple(sorted(name.replace("_", "-") for name in found))


def load(name: str) -> Target:
    """Return the target of a name; its module is imported now."""
    module = importlib.import_module(f"tests.fuzz.targets.{name.replace('-', '_')}")
    target: Target = module.TARGET
    assert target.name == name, f"{module.__name__} calls itself {target.name}"
    return target
