"""A manual page in the macros of man(7), as every `man` reads them.

Text may have `code` in backticks; that becomes bold. Nothing in a text is taken for a macro.

Called by: cli.manual, cli.manual_settings.  Raises: nothing.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

WIDTH = 78
_CODE = re.compile(r"`([^`]+)`")
_WORD = re.compile(r"\A[a-z]+(?=[ ,;:]|\Z)")


def literal(text: str) -> str:
    """Return text as it is, where a line may begin with it."""
    text = text.replace("\\", "\\(rs").replace("-", "\\-").replace("…", "...")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def marked(text: str) -> str:
    """Return a text in lines of a bearable length, with what is in backticks in bold."""
    parts = _CODE.split(" ".join(text.split()))
    whole = "".join(
        f"\\fB{literal(part)}\\fR" if place % 2 else _prose(part)
        for place, part in enumerate(parts)
    )
    lines = textwrap.wrap(whole, WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


def sentence(text: str) -> str:
    """Return a piece of help as a sentence; a name at its beginning stays as it is."""
    begun = _WORD.sub(lambda match: match[0].capitalize(), text)
    return begun if begun.endswith((".", ":")) else f"{begun}."


def _prose(text: str) -> str:
    # A hyphen in a sentence is one; a minus in front of a word is an option's.
    escaped = text.replace("\\", "\\(rs").replace("…", "...")
    return re.sub(r"(?<![\w-])-(?=[\w-])|(?<=\\-)-", r"\\-", escaped)


class Page:
    """One page, section by section."""

    def __init__(self, name: str, number: int, about: str, date: str, version: str) -> None:
        """`about` stands behind the name in the first section, in `whatis` and `apropos`."""
        self.name = name
        self.number = number
        self._lines = [
            f'.TH "{name.upper()}" {number} "{date}" "Postroom {version}" "Postroom"',
            # Commands and addresses are not to be hyphenated, nor lines to be stretched.
            ".nh",
            ".ad l",
            ".SH NAME",
            f"{literal(name)} \\- {_prose(about)}",
        ]

    @property
    def file(self) -> str:
        """Where it lies below a directory of manual pages: man1/postroom.1."""
        return f"man{self.number}/{self.name}.{self.number}"

    def section(self, heading: str) -> None:
        """Begin a section."""
        self._lines.append(f'.SH "{heading}"')

    def subsection(self, heading: str) -> None:
        """Begin a part of a section."""
        self._lines.append(f'.SS "{literal(heading)}"')

    def text(self, text: str, *, first: bool = False) -> None:
        """Add a paragraph; the `first` one of a section needs no space above it."""
        self._lines += [*([] if first else [".PP"]), marked(text)]

    def synopsis(self, name: str, arguments: str) -> None:
        """Add a command line."""
        self._lines += [f"\\fB{literal(name)}\\fR {literal(arguments)}".rstrip(), ".br"]

    def item(self, tag: str, text: str) -> None:
        """Add what is described, and its description below it."""
        self._lines += [".TP", f"\\fB{literal(tag)}\\fR", marked(text)]

    def more(self, lines: Iterable[str]) -> None:
        """Add lines to the description that was begun."""
        for line in lines:
            self._lines += [".br", marked(line)]

    def example(self, lines: Iterable[str]) -> None:
        """Add lines as they are."""
        self._lines += [".PP", ".RS 4", ".nf", *map(literal, lines), ".fi", ".RE"]

    def render(self) -> str:
        """Return the page."""
        lines = self._lines
        # A break at the end of a section breaks nothing.
        kept = [
            line for place, line in enumerate(lines)
            if line != ".br" or (place + 1 < len(lines) and not lines[place + 1].startswith(".S"))
        ]  # fmt: skip
        return "\n".join(kept) + "\n"
