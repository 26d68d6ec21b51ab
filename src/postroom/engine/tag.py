"""The tag that a sender gave a message in its header, for rules that ask for it.

Read once, when a message is taken in, and only where a rule needs it: the content is never
looked at otherwise. The first field of the configured name counts. What is no short word of
visible US-ASCII is no tag.

Pure.  Called by: engine.distributor.  Raises: nothing.
RFCs: 5322 (§2.2.3: a field may be folded over several lines).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from postroom.channels.message_rules import TAG_MAX

HEADER_MAX_OCTETS = 64 * 1024
"""A tag further down is not found: looking for it must cost little, whatever was sent."""
DEFAULT_FIELD = "X-Postroom-Tag"

_TAG = re.compile(rf"[!-~]{{1,{TAG_MAX}}}\Z")
_END = b"\r\n\r\n"


class TagReader:
    """Finds the tag of messages."""

    __slots__ = ("_pattern",)

    def __init__(self, field: str = DEFAULT_FIELD) -> None:
        name = re.escape(field.encode("ascii"))
        self._pattern = re.compile(
            rb"(?:\A|\r\n)" + name + rb"[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE
        )

    def read(self, content: Sequence[bytes]) -> str:
        """Return the tag in lower case, "" where there is none; content has CRLF line ends."""
        header = self._header(content)
        found = self._pattern.search(header)
        if found is None:
            return ""
        value = found[1].replace(b"\r\n", b"").strip().decode("ascii", "replace").lower()
        return value if _TAG.match(value) else ""

    def _header(self, content: Sequence[bytes]) -> bytes:
        pieces: list[bytes] = []
        room = HEADER_MAX_OCTETS
        for part in content:
            pieces.append(part[:room])
            room -= len(pieces[-1])
            if room <= 0:
                break
        head = b"".join(pieces)
        end = head.find(_END)
        return head if end < 0 else head[:end]
