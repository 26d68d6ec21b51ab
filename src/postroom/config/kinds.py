"""The kinds of value a setting can have: how each is read and written.

A kind reads what TOML gave (`read`), makes such a value of one line of text from the
environment or the command line (`from_text`), and writes a value back as TOML (`toml`) and
as JSON (`plain`). What a kind accepts is said once, in `expected`, for errors and docs.

Guarantees: `read(tomllib(toml(value))) == value`.
Called by: config.settings, config.build, config.render.  Raises: Misread.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

SHOWN_MAX = 60
"""Characters of a wrong value that an error repeats."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_WORDS = {"true": True, "yes": True, "on": True, "1": True,
          "false": False, "no": False, "off": False, "0": False}  # fmt: skip


class Mistake(ValueError):
    """One thing that is wrong with a value; `at` leads to the element concerned."""

    def __init__(self, wrong: str, expected: str = "", hint: str = "", at: Any = ()) -> None:
        parts = [wrong, f"expected {expected}" if expected else "", hint]
        super().__init__("; ".join(part for part in parts if part))
        self.at: tuple[str | int, ...] = tuple(at)


class Misread(ValueError):
    """A value could not be read, for one or more reasons."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Place:
    """What a relative path is relative to: `directory`, and `home` for a leading "~/"."""

    directory: Path
    home: str = ""


class Kind(Protocol):
    """One kind of value."""

    @property
    def expected(self) -> str:
        """What is accepted, as the end of a sentence that begins with "expected"."""
        ...

    def read(self, given: object, place: Place) -> Any:
        """Return the value; raise Misread."""
        ...

    def from_text(self, text: str) -> object:
        """Return what TOML would have given for this text."""
        ...

    def plain(self, value: Any) -> Any:
        """Return the value as JSON types, in the units a person writes."""
        ...


def shown(given: object) -> str:
    """Return a wrong value as it goes into an error, on one line and not too long."""
    if isinstance(given, str):
        text = json.dumps(given, ensure_ascii=False)
    elif isinstance(given, bool):
        text = "true" if given else "false"
    elif isinstance(given, dict):
        return "a table"
    elif isinstance(given, list):
        return "an array"
    else:
        try:
            text = str(given)
        except ValueError:
            return "a very long number"
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or ""."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""


def toml(plain: Any) -> str:
    """Return JSON types as a TOML value on one line."""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, str):
        # JSON escapes are TOML escapes, but for DEL, which TOML wants escaped.
        return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(plain, list):
        return "[" + ", ".join(map(toml, plain)) + "]"
    if isinstance(plain, dict):
        return "{ " + ", ".join(f"{key} = {toml(value)}" for key, value in plain.items()) + " }"
    return repr(plain)


def misunderstood(given: object, expected: str, hint: str = "") -> Misread:
    """Return the mistake of a value that is not what was expected."""
    return Misread(Mistake(f"{shown(given)} is not understood", expected, hint))


class _Textual:
    """What kinds share that are written as text."""

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: Any) -> Any:
        """The value is plain already."""
        return value


@dataclass(frozen=True, slots=True)
class Boolean:
    """true or false."""

    expected: str = "true or false"

    def read(self, given: object, place: Place) -> bool:
        """Return the value."""
        if not isinstance(given, bool):
            raise misunderstood(given, self.expected)
        return given

    def from_text(self, text: str) -> object:
        """Yes, on and 1 also mean true; no, off and 0 false."""
        return _WORDS.get(text.strip().lower(), text)

    def plain(self, value: bool) -> bool:
        """Return the value."""
        return value


@dataclass(frozen=True, slots=True)
class Text(_Textual):
    """One line of text, at most `length` characters, that `pattern` matches whole."""

    length: int = 1000
    expected: str = "text on one line"
    pattern: str = ".*"

    def read(self, given: object, place: Place) -> str:
        """Return the text."""
        if not isinstance(given, str):
            raise misunderstood(given, f"{self.expected}, in quotation marks")
        if len(given) > self.length:
            raise Misread(Mistake(f"{shown(given)} is longer than {self.length} characters"))
        if _CONTROL.search(given) or not re.fullmatch(self.pattern, given):
            raise misunderstood(given, self.expected)
        return given


@dataclass(frozen=True, slots=True)
class Choice(_Textual):
    """One of some words."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The words."""
        return ", ".join(f'"{word}"' for word in self.words[:-1]) + f' or "{self.words[-1]}"'

    def read(self, given: object, place: Place) -> str:
        """Return the word."""
        if not isinstance(given, str) or given not in self.words:
            hint = did_you_mean(given, self.words) if isinstance(given, str) else ""
            raise misunderstood(given, self.expected, hint)
        return given


@dataclass(frozen=True, slots=True)
class FilePath(_Textual):
    """A path, made absolute; words in `instead` stand for themselves."""

    instead: tuple[str, ...] = ()
    expected: str = "a path"

    def read(self, given: object, place: Place) -> str:
        """Return the absolute path."""
        if not isinstance(given, str) or not given or _CONTROL.search(given):
            raise misunderstood(given, self.expected)
        if given in self.instead:
            return given
        if len(given) > 4000:
            raise Misread(Mistake(f"{shown(given)} is longer than 4000 characters"))
        if given.startswith("~/") and place.home:
            return str(Path(place.home) / given[2:])
        return str(place.directory / given)


@dataclass(frozen=True, slots=True)
class ListOf:
    """Some values of one kind, at most `most`; one alone needs no brackets."""

    kind: Kind
    least: int = 0
    most: int = 1000

    @property
    def expected(self) -> str:
        """The kind of the elements."""
        return f"an array, each element {self.kind.expected}"

    def read(self, given: object, place: Place) -> tuple[Any, ...]:
        """Return the values, all mistakes of all elements at once."""
        elements = given if isinstance(given, list) else [given]
        if not self.least <= len(elements) <= self.most:
            number = f"{len(elements)} elements are too {'few' if not elements else 'many'}"
            raise Misread(Mistake(number, f"{self.least} to {self.most}"))
        values, mistakes = [], []
        for index, element in enumerate(elements):
            try:
                values.append(self.kind.read(element, place))
            except Misread as misread:
                for mistake in misread.mistakes:
                    if isinstance(given, list):
                        mistake.at = (index, *mistake.at)
                    mistakes.append(mistake)
        if mistakes:
            raise Misread(*mistakes)
        return tuple(values)

    def from_text(self, text: str) -> object:
        """A TOML array, or elements with commas between them."""
        if text.lstrip().startswith("["):
            try:
                return tomllib.loads(f"value = {text}")["value"]
            except (ValueError, RecursionError):
                pass  # "[::1]:25,[::1]:26" starts like an array and is none.
        return [self.kind.from_text(part.strip()) for part in text.split(",") if part.strip()]

    def plain(self, value: tuple[Any, ...]) -> list[Any]:
        """Return the elements as a list."""
        return [self.kind.plain(element) for element in value]
