"""Words like {local} and {domain} in a route's path or command.

Guarantees: a value that goes into a path is one name inside its directory: without "/",
without a dot at its start, not empty.
Called by: delivery.maildir, delivery.pipe.  Raises: ReplyError 5.1.3 for an address that
cannot be used so.
"""

from __future__ import annotations

import re

from postroom.core.errors import ReplyError
from postroom.core.message import Recipient
from postroom.core.reply import EnhancedStatusCode, Reply

_PLACEHOLDER = re.compile(r"\{(local|domain|address|reverse_path|id)\}")
_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f/]")

NAME_OCTETS_MAX = 255
"""File systems take no longer names."""


def words_of(recipient: Recipient, reverse_path: str, queue_id: str) -> dict[str, str]:
    """Return what each placeholder stands for."""
    local, at, domain = recipient.address.rpartition("@")
    if not at:
        local, domain = recipient.address, ""
    return {
        "local": local,
        "domain": domain.lower(),
        "address": recipient.address,
        "reverse_path": reverse_path,
        "id": queue_id,
    }


def fill(template: str, words: dict[str, str]) -> str:
    """Return `template` with its placeholders replaced, each once and not again."""
    return _PLACEHOLDER.sub(lambda match: words[match[1]], template)


def fill_path(template: str, words: dict[str, str]) -> str:
    """Return a path; raise ReplyError where a word would lead out of its directory."""

    def name(match: re.Match[str]) -> str:
        word = words[match[1]]
        # Letter case carries no meaning in most mail systems, and may not on disk.
        unsafe = not word or word.startswith(".") or _UNSAFE_NAME.search(word) is not None
        if unsafe or len(word.encode("utf-8", "replace")) > NAME_OCTETS_MAX:
            text = f"{match[1]} part {word[:64]!r} cannot be used as the name of a mailbox"
            raise ReplyError(Reply(550, EnhancedStatusCode("5.1.3"), text))
        return word

    return _PLACEHOLDER.sub(name, template)
