"""Whether the header of a message has the fields that a query asks for.

A header is octets of strangers: fields are found line by line, folded lines are made one, and
what is not UTF-8 is read as well as it can be. Encoded words are not decoded.

Pure.  Called by: engine.seeking.  Raises: nothing.
RFCs: 5322 (§2.2: fields; §2.2.3: a field may be folded over several lines).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from postroom.core.conditions import Names, NameTest
from postroom.spool.query import HeaderTest

HEADER_MAX_OCTETS = 64 * 1024
"""A field further down is not found: looking for it must cost little, whatever was sent."""
VALUE_MAX = 2000
"""Characters of a value that are compared."""

_FOLD = re.compile(rb"\r?\n[ \t]+")
_LINE = re.compile(rb"([!-9;-~]+)[ \t]*:([^\n]*)")


class HeaderTests:
    """What is asked of one header."""

    def __init__(self, tests: Sequence[HeaderTest]) -> None:
        self._tests = [
            (one.name.lower().encode("ascii", "replace"), NameTest(Names(one.values)), one.is_not)
            for one in tests
        ]
        self._names = {name for name, _, _ in self._tests}

    def match(self, content: bytes) -> bool:
        """Say whether all tests hold for content, of which the beginning is enough."""
        values = self._values(content)
        return all(
            any(test.accepts(value) for value in values.get(name, ())) != is_not
            for name, test, is_not in self._tests
        )

    def _values(self, content: bytes) -> dict[bytes, list[str]]:
        found: dict[bytes, list[str]] = {}
        for line in _FOLD.sub(b" ", _head(content)).split(b"\n"):
            field = _LINE.match(line)
            if field is None:
                continue
            name = field[1].lower()
            if name in self._names:
                value = field[2].strip().decode("utf-8", "replace")[:VALUE_MAX]
                found.setdefault(name, []).append(value)
        return found


def _head(content: bytes) -> bytes:
    """Return the header alone."""
    head = content[:HEADER_MAX_OCTETS]
    end = head.find(b"\r\n\r\n")
    return head if end < 0 else head[:end]
