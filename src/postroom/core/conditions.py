"""Conditions that a filter is made of: names that are meant or not, and ranges.

A name is a text without regard to the case of ASCII letters; `*` in it stands for any
characters, also none. Lists mean "one of these". A range has its bounds inside.

Pure.  Guarantees: a name is compared in a time that grows with the text, whatever the pattern.
Called by: spool.selection, spool.query, control.filters.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def folded(text: str) -> str:
    """Return a text with its ASCII letters in lower case, as SQLite's lower() gives it."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


class Names(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of `any_of` (empty: anything), and none of `none_of`."""

    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """False where everything is meant."""
        return bool(self.any_of or self.none_of)


ANYTHING = Names()


class Range(msgspec.Struct, frozen=True, omit_defaults=True):
    """From `least` to `most`, both inside; None is no bound."""

    least: float | None = None
    most: float | None = None

    def __bool__(self) -> bool:
        """False where everything is meant."""
        return self.least is not None or self.most is not None

    def holds(self, value: float) -> bool:
        """Say whether a value lies within."""
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )


EVERYWHERE = Range()


def is_exact(pattern: str) -> bool:
    """Say whether a pattern names one text."""
    return "*" not in pattern


class NameTest:
    """Names, ready to be asked about many texts."""

    __slots__ = ("_any", "_any_globs", "_fold", "_none", "_none_globs")

    def __init__(self, names: Names, fold: Callable[[str], str] = folded) -> None:
        """`fold` takes away what does not matter of patterns and texts."""
        self._fold = fold
        self._any, self._any_globs = _sorted([fold(one) for one in names.any_of])
        self._none, self._none_globs = _sorted([fold(one) for one in names.none_of])

    def accepts(self, text: str) -> bool:
        """Say whether a text is meant."""
        text = self._fold(text)
        if text in self._none or any(_fits(parts, text) for parts in self._none_globs):
            return False
        if not self._any and not self._any_globs:
            return True
        return text in self._any or any(_fits(parts, text) for parts in self._any_globs)


def _sorted(patterns: list[str]) -> tuple[frozenset[str], list[list[str]]]:
    exact = frozenset(one for one in patterns if is_exact(one))
    return exact, [one.split("*") for one in patterns if not is_exact(one)]


def _fits(parts: list[str], text: str) -> bool:
    """Say whether a text is made of these parts, in order, with anything between them."""
    first, last = parts[0], parts[-1]
    if len(text) < len(first) + len(last) or not text.startswith(first):
        return False
    if not text.endswith(last):
        return False
    # Each at its first place: what stands behind it then has the most room.
    at, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
