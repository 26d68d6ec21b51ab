"""Where in a TOML text each key and value stands.

tomllib gives values without positions, and a mistake without a line is of little use. This
scanner walks a text that tomllib has already accepted and notes one line number per path:
of the key for a key, of the header for a table, of the element for an element of an array.
It reads keys and skips values; what values mean stays tomllib's business.

Guarantees: every path of the tree that tomllib makes of the same text is in the result.
Called by: config.gather.  Raises: nothing for text that tomllib accepts; RecursionError
for text nested as deeply as tomllib itself refuses.
"""

from __future__ import annotations

import bisect
import re
import tomllib

Path = tuple[str | int, ...]
"""Keys, and indexes into arrays, from the top: ("route", "out", "relays", 0, "host")."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# One or two quotation marks may stand before the three that end a multi-line string.
_MULTI_BASIC = re.compile(r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)
_MULTI_LITERAL = re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}", re.DOTALL)
_BASIC = re.compile(r'"(?:[^\\"\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_PLAIN = re.compile(r"[^,\]}#\n]*")


def locate(text: str) -> dict[Path, int]:
    """Return the line number, from 1, of every key, table and array element."""
    # tomllib reads CRLF as LF before it starts; the number of lines is the same.
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    """One pass over one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._tables_of: dict[Path, int] = {}
        self.lines: dict[Path, int] = {}

    def document(self) -> None:
        """Walk `[table]`, `[[array of tables]]` and `key = value` to the end."""
        table: Path = ()
        while self._skip(_BLANK) < len(self._text):
            line = self._line()
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._array_header(self._key(), line)
                self._take("]]")
            elif self._text.startswith("[", self._at):
                self._at += 1
                table = self._header(self._key(), line)
                self._take("]")
            else:
                self._assignment(table)

    def _header(self, key: list[str], line: int) -> Path:
        table: Path = ()
        for part in key:
            table = self._element((*table, part))
            self.lines.setdefault(table, line)
        # A table may first be implied by a header below it; its own header is better.
        self.lines[table] = line
        return table

    def _array_header(self, key: list[str], line: int) -> Path:
        parent = self._header(key[:-1], line) if len(key) > 1 else ()
        array: Path = (*parent, key[-1])
        self.lines.setdefault(array, line)
        self._tables_of[array] = self._tables_of.get(array, 0) + 1
        table = self._element(array)
        self.lines[table] = line
        return table

    def _element(self, path: Path) -> Path:
        """A path that names an array of tables means its last table."""
        count = self._tables_of.get(path, 0)
        return (*path, count - 1) if count else path

    def _assignment(self, table: Path) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._take("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        for opening, pattern in (
            ('"""', _MULTI_BASIC),
            ("'''", _MULTI_LITERAL),
            ('"', _BASIC),
            ("'", _LITERAL),
        ):
            if self._text.startswith(opening, self._at):
                self._skip(pattern)
                return
        if self._text.startswith("[", self._at):
            self._array(path)
        elif self._text.startswith("{", self._at):
            self._inline_table(path)
        else:
            self._skip(_PLAIN)

    def _array(self, path: Path) -> None:
        self._take("[")
        index = 0
        while not self._ends("]"):
            self.lines[(*path, index)] = self._line()
            self._value((*path, index))
            self._comma()
            index += 1

    def _inline_table(self, path: Path) -> None:
        self._take("{")
        while not self._ends("}"):
            self._assignment(path)
            self._comma()

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_SPACE)
            start = self._at
            if self._text.startswith('"', start):
                self._skip(_BASIC)
                # The only place where a meaning is needed: escapes in a quoted key.
                parts.append(str(tomllib.loads(f"k = {self._text[start : self._at]}")["k"]))
            elif self._text.startswith("'", start):
                self._skip(_LITERAL)
                parts.append(self._text[start + 1 : self._at - 1])
            else:
                self._skip(_BARE_KEY)
                parts.append(self._text[start : self._at])
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _ends(self, closing: str) -> bool:
        if self._skip(_BLANK) >= len(self._text):
            return True
        if self._text.startswith(closing, self._at):
            self._at += 1
            return True
        return False

    def _comma(self) -> None:
        self._skip(_BLANK)
        if self._text.startswith(",", self._at):
            self._at += 1

    def _take(self, mark: str) -> None:
        self._skip(_SPACE)
        assert self._text.startswith(mark, self._at), f"{mark!r} expected at {self._at}"
        self._at += len(mark)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return self._at

    def _line(self) -> int:
        return bisect.bisect_right(self._starts, self._at)
