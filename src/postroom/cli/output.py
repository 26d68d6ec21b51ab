"""What commands print: tables, JSON lines, one-line errors; and their exit codes.

Called by: cli.  Raises: nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from postroom.core.errors import PostroomError

OK = 0
FINDING = 1
"""Something was found that is not as it should be, or nothing matched."""
USAGE = 2
INTERRUPTED = 130
"""As a shell tells of SIGINT: 128 and the number of the signal."""
TEMPORARY = 75
"""EX_TEMPFAIL of sysexits.h: the server is not reachable, or refuses for now."""
CONFIGURATION = 78
"""EX_CONFIG of sysexits.h."""


class CommandFailed(PostroomError):
    """A command cannot be done: one clear line, what to try, and the exit code."""

    def __init__(self, text: str, hint: str = "", code: int = FINDING) -> None:
        super().__init__(text)
        self.hint = hint
        self.code = code


def fail(text: str, hint: str = "", code: int = FINDING) -> NoReturn:
    """End the command."""
    raise CommandFailed(text, hint, code)


def warn(text: str) -> None:
    """Say something on standard error and go on."""
    print(f"postroom: {text}", file=sys.stderr)


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns; columns of numbers stand to the right."""
    texts = [[printable(str(cell)) for cell in row] for row in rows]
    columns = list(zip(heads, *texts, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [
        bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        for index in range(len(heads))
    ]
    for line in [list(heads), *texts]:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())


def plural(count: int, noun: str) -> str:
    """Return "1 message", "2 messages"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """Return text without control characters: replies come from strangers."""
    return "".join(character if character.isprintable() else " " for character in text)
