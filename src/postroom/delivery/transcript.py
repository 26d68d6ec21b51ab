"""The dialogue of an attempt that failed, for xf files and `mail show`.

Made after the fact from what session and transaction still hold, so that an attempt that
succeeds pays nothing. Holds no content and no credentials.
Called by: delivery.smtp_agent.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.reply import Reply
from postroom.smtp.client import ClientSession
from postroom.smtp.client_states import Failure
from postroom.smtp.client_transaction import Transaction

LINES_MAX = 400
"""Lines kept of one attempt."""

_RCPT_MAX = 50
"""Recipients whose replies are shown for one transaction."""


class Transcript:
    """Lines: ">" what we said, "<" what the host said, "=" what happened."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add_failure(self, failure: Failure, host: str) -> None:
        """Note a connection that never became ready for mail."""
        self._lines.append(f"= {host}: {failure.stage.name} {failure.cause.name}: {failure.reply}")

    def add_transaction(self, transaction: Transaction, session: ClientSession, host: str) -> None:
        """Note the opening of the session and one transaction."""
        lines = self._lines
        lines.append(f"= {host}: transaction {session.transactions}")
        if session.transactions <= 1:
            lines += session.dialogue
        lines.append(f"> MAIL FROM:<{transaction.envelope.reverse_path}>")
        pairs = zip(transaction.envelope.recipients, transaction.rcpt_replies, strict=False)
        for number, (recipient, reply) in enumerate(pairs):
            if number == _RCPT_MAX:
                lines.append(f"= {len(transaction.rcpt_replies) - _RCPT_MAX} recipients more")
                break
            lines.append(f"> RCPT TO:<{recipient.address}>")
            lines.append(_said(reply))
        lines.extend(_said(reply) for reply in transaction.final_replies[:_RCPT_MAX])
        failure = transaction.failure
        if failure is not None:
            lines.append(f"= {failure.stage.name} {failure.cause.name}: {failure.reply}")

    def text(self) -> str:
        """Return the whole, cut at LINES_MAX lines."""
        return "\n".join(self._lines[:LINES_MAX])


def _said(reply: Reply) -> str:
    return f"< {reply}"
