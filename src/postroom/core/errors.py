"""Errors that carry a reply.

What the world does wrong is a value or one of these leaf errors; what we do wrong is an
AssertionError, which stops the worker loudly.
"""

from __future__ import annotations

from postroom.core.reply import Reply


class PostroomError(Exception):
    """Base of every error this project raises on purpose."""


class ReplyError(PostroomError):
    """Something could not be done; `reply` is what the other side is told."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class StoreUnavailable(ReplyError):
    """The store could not make a change durable. Nothing of the change counts."""


class StoreFull(StoreUnavailable):
    """A file system is full. RFC 5321 §4.2.3: 452 insufficient system storage."""


class ContentCorrupt(PostroomError):
    """Stored content does not match its checksum; the message is to be quarantined."""


class ConfigurationError(PostroomError):
    """The configuration is wrong; the text has one line per mistake, with file and line."""
