"""`postroom completion SHELL`: what may follow on a command line, told by the parser.

The script for a shell (cli.shells) knows nothing of our commands: at each Tab it asks `postroom
completion words WORD …`, which walks the parser and answers with commands, options, values, words
of a filter, and names from the running server (cli.names). So a new command is completed without
more ado, and all shells alike.

Called by: cli.main, tests.  Raises: nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from postroom.cli import names as known_names
from postroom.cli.output import OK
from postroom.cli.parser import build_parser
from postroom.cli.shells import DIRECTORIES, FILES, SCRIPTS
from postroom.control.filter_words import ALL, FIELDS, HEADER
from postroom.spool.store import STATES

LIMIT_WORDS = "concurrency= per_site.concurrency="
RATE_WORDS = "rate= per_site.rate= rate=none per_site.rate=none"

KINDS = {
    "CHANNEL": ("channel",),
    "QUEUE": ("queue",),
    "SOURCE": ("source",),
    "SITE": ("site",),
    "SITE|all": ("site",),
    "TENANT": ("tenant",),
    "HOST": ("relay",),
    "EVENTS": ("event",),
    "WEBHOOK": ("webhook",),
    "HOST|all": ("relay",),
    "ID|SITE|DOMAIN|CHANNEL": ("site", "channel"),
}
"""What is named by an argument that is shown so."""

KINDS_OF_FIELD = {
    "channel": ("channel",),
    "queue": ("queue",),
    "site": ("site",),
    "tenant": ("tenant",),
    "listener": ("listener",),
}
"""What is named by an argument that is kept so; several are shown as NAME."""

WORDS = {
    "SITE|all": "all",
    "HOST|all": "all",
    "LOAD|off": "off",
    "LIMIT": LIMIT_WORDS,
    "WORDS": "never success failure delay",
    "MODES": "full none full,none",
    "WHEN": "start now 1h",
}

PLACES = {"FILE": FILES, "PATH": FILES, "DIR": DIRECTORIES}

Names = Callable[[str], Sequence[str]]
"""Gives the names of a kind."""


class Candidate(NamedTuple):
    """A word that may stand at the cursor, and what it means."""

    word: str
    meaning: str = ""


def run(options: argparse.Namespace) -> int:
    """Print the script of a shell, or what may follow words."""
    if options.shell != "words":
        print(SCRIPTS[options.shell], end="")
        return OK
    words = options.words_so_far
    config = given_config(words)
    for one in candidates(words, lambda kind: known_names.names(kind, config)):
        print(f"{one.word}\t{one.meaning}" if one.meaning else one.word)
    return OK


def given_config(words: Sequence[str]) -> str | None:
    """Return what `--config` says in front of a command."""
    for name, value in pairwise(words):
        if name == "--config":
            return value
    return next((word[9:] for word in words if word.startswith("--config=")), None)


def candidates(words: Sequence[str], names: Names) -> list[Candidate]:
    """Return what may stand for the last word, which may be begun or empty."""
    *before, current = words or [""]
    place = _Place(build_parser())
    for word in before:
        place.go_on(word)
    found = place.follow(current, names)
    return [one for one in found if one.word.startswith((current, ":"))]


class _Place:
    """Where in the parser a command line has come to."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._enter((), parser)
        self._pending: argparse.Action | None = None
        self._has_options = True

    def _enter(self, path: tuple[str, ...], parser: argparse.ArgumentParser) -> None:
        if path == ("sink",):
            from postroom.sink.command import add_arguments

            parser = argparse.ArgumentParser(add_help=False)
            add_arguments(parser)
        self._path = path
        self._positionals: list[argparse.Action] = []
        self._options: dict[str, argparse.Action] = {}
        self._below: argparse._SubParsersAction[argparse.ArgumentParser] | None = None
        self._used: set[str] = set()
        self._count = 0
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                self._below = action
            elif action.option_strings:
                self._options.update(dict.fromkeys(action.option_strings, action))
            elif action.help != argparse.SUPPRESS:
                self._positionals.append(action)

    def go_on(self, word: str) -> None:
        """Take a word that is complete."""
        if self._pending is not None:
            self._pending = None
        elif word == "--":
            self._has_options = False
        elif self._has_options and word.startswith("-") and len(word) > 1:
            name, mark, _ = word.partition("=")
            action = self._options.get(name)
            if action is not None:
                self._used.add(action.dest)
                self._pending = action if action.nargs != 0 and not mark else None
        elif self._below is not None and word in self._below.choices:
            self._enter((*self._path, word), self._below.choices[word])
        else:
            self._count += 1

    def follow(self, current: str, names: Names) -> Iterator[Candidate]:
        """Give what may come next."""
        if self._pending is not None:
            yield from _values(self._path, self._pending, names, current)
            return
        if self._has_options and current.startswith("-"):
            for name, action in self._options.items():
                repeats = isinstance(action, argparse._AppendAction)
                if name.startswith("--") and (repeats or action.dest not in self._used):
                    yield Candidate(name, _line(action.help))
            return
        if self._below is not None and not self._count:
            for one in self._below._choices_actions:
                yield Candidate(str(one.dest), _line(one.help))
        if self._positionals:
            last = len(self._positionals) - 1
            action = self._positionals[min(self._count, last)]
            if self._count <= last or action.nargs in ("*", "+"):
                yield from _values(self._path, action, names, current)


def _values(
    path: tuple[str, ...], action: argparse.Action, names: Names, current: str
) -> Iterator[Candidate]:
    """Give the values that an option or an argument may have."""
    if action.choices:
        yield from (Candidate(str(choice)) for choice in action.choices)
        return
    shown = str(action.metavar or "")
    if shown in PLACES:
        yield Candidate(PLACES[shown])
    words = WORDS.get(shown, "")
    if shown == "LIMIT" and path == ("what-if", "channel"):
        words += f" {RATE_WORDS}"
    yield from (Candidate(word) for word in words.split())
    if shown == "FILTER":
        yield from _filter_words(names, current)
    if shown == "NAME=VALUE":
        from postroom.config.settings import TABLES

        for table in TABLES:
            if table.name and not table.named:
                yield from (Candidate(f"{table.name}.{one.name}=") for one in table.settings)
    field = "site" if path[:1] == ("site",) and action.dest == "name" else action.dest
    for kind in KINDS.get(shown, KINDS_OF_FIELD.get(field, ())):
        yield from (Candidate(name, kind) for name in names(kind))


def _filter_words(names: Names, current: str) -> Iterator[Candidate]:
    """Give the beginnings of words of a filter, and the names that some go on with.

    Those with < or > are left out: completed without quotes, a shell would take them for files.
    """
    for kind in ("queue", "channel", "tenant", "site"):
        for operator in FIELDS[kind].operators:
            if current.startswith(f"{kind}{operator}"):
                yield from (Candidate(f"{kind}{operator}{name}") for name in names(kind))
                return
    yield Candidate(ALL, "every message")
    for field in FIELDS.values():
        if field.name == "state":
            yield from (Candidate(f"state={state}") for state in STATES)
        elif field.name in (HEADER, "reply"):
            yield Candidate(field.name + ("~" if field.name == "reply" else ""), field.help)
        elif field.operators[0] == "=":
            yield Candidate(f"{field.name}=", field.help)


def _line(text: str | None) -> str:
    return " ".join((text or "").split())
