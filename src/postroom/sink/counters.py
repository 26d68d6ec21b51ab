"""What a site has seen, in numbers.

Called by: sink.session, sink.command, tests.  Raises: nothing.
"""

from __future__ import annotations

import msgspec


class Counters(msgspec.Struct):
    """Numbers of one site since it was started.

    `open` and `open_max` count simultaneous connections, `refused` recipients that got no
    250, `dropped` connections we ended without a word, `errors` commands that were wrong.
    `first_at` and `last_at` are the event loop's times of the first and last message.
    """

    connections: int = 0
    open: int = 0
    open_max: int = 0
    messages: int = 0
    recipients: int = 0
    octets: int = 0
    refused: int = 0
    dropped: int = 0
    errors: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    replies: dict[str, int] = msgspec.field(default_factory=dict)

    def count_reply(self, code: str) -> None:
        """Count an unusual reply by its code."""
        self.replies[code] = self.replies.get(code, 0) + 1

    def line(self, name: str) -> str:
        """Return the numbers as one line for people."""
        seconds = self.last_at - self.first_at
        rate = f", {(self.messages - 1) / seconds:.0f}/s" if seconds > 0.05 else ""
        codes = " ".join(f"{code}:{count}" for code, count in sorted(self.replies.items()))
        return (
            f"{name}: {self.messages} messages{rate}, {self.recipients} recipients, "
            f"{self.octets} octets, {self.refused} refused, {self.dropped} dropped, "
            f"{self.connections} connections ({self.open} open, at most {self.open_max})"
            + (f", replies {codes}" if codes else "")
        )
