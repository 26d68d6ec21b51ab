"""Whether a message is one that a Selection is about.

Pure: the caller passes `now`. Stores in SQL narrow down first and ask here for the rest,
so that all stores mean the same by a selection.

Called by: spool.memory, spool.embedded, spool.query, the cluster's store, cli.
Raises: ValueError for an expression that is none, from `SelectionTest`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from postroom.core.conditions import Names, NameTest, Range
from postroom.core.ids import QueueId
from postroom.core.message import Recipient, RecipientStatus, StoredMessage
from postroom.spool.store import QUARANTINE, Selection

if TYPE_CHECKING:
    from postroom.core.expressions import Expression

RecipientTest = Callable[[Recipient, RecipientStatus], bool]


class SelectionTest:
    """A selection, ready to be asked about many messages."""

    def __init__(self, selection: Selection) -> None:
        self._ids = frozenset[QueueId](selection.ids)
        self._sender = _name_test(selection.sender)
        self._recipient = _name_test(selection.recipient)
        # Domains beyond ASCII are compared as their column holds them.
        self._domain = NameTest(selection.domain, str.lower) if selection.domain else None
        self._state = _name_test(selection.state)
        self._age = _range(selection.age)
        self._size = _range(selection.size)
        self._due = _range(selection.due)
        self._attempts = _range(selection.attempts)
        self._replies = _expressions(selection.reply)
        self._not_replies = _expressions(selection.not_reply)
        self._is_plain = not (
            self._recipient or self._domain or self._state or self._due or self._attempts
            or self._replies or self._not_replies
        )  # fmt: skip

    def matches(
        self, message: StoredMessage, now: float, also: RecipientTest | None = None
    ) -> bool:
        """Say whether all conditions hold for a message, which is given whole.

        Conditions on the message must all hold, and there must be one waiting recipient for
        which the others hold together, and `also` where it is given.
        """
        if (
            (self._ids and message.id not in self._ids)
            or (self._age is not None and not self._age.holds(now - message.arrived_at))
            or (self._size is not None and not self._size.holds(message.size_octets))
            or (self._sender and not self._sender.accepts(message.envelope.reverse_path))
            or (self._due is not None and message.hold)
        ):
            return False
        if self._is_plain and also is None:
            return message.live_count > 0
        return any(
            not status.state.is_final
            and self._takes(message, recipient, status, now)
            and (also is None or also(recipient, status))
            for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True)
        )

    def _takes(
        self, message: StoredMessage, recipient: Recipient, status: RecipientStatus, now: float
    ) -> bool:
        return (
            (self._recipient is None or self._recipient.accepts(recipient.address))
            and (self._domain is None or self._domain.accepts(recipient.domain))
            and (self._state is None or self._state.accepts(state_of(message, status, now)))
            and (self._due is None or self._due.holds(status.due_at - now))
            and (self._attempts is None or self._attempts.holds(status.attempts))
            and all(one.is_in(status.reply) for one in self._replies)
            and not any(one.is_in(status.reply) for one in self._not_replies)
        )


def matches(selection: Selection, message: StoredMessage, now: float) -> bool:
    """Say whether all conditions hold for `message`, which is given whole."""
    return SelectionTest(selection).matches(message, now)


def state_of(message: StoredMessage, status: RecipientStatus, now: float) -> str:
    """Return the state of a waiting recipient, one of STATES."""
    if message.hold:
        return "quarantined" if message.hold.startswith(QUARANTINE) else "held"
    if message.scheduled_until(now):
        return "scheduled"
    return "deferred" if status.due_at > now else "waiting"


def message_state(message: StoredMessage, now: float) -> str:
    """Return the state of a message in a word, as filters name it.

    A message of several recipients is deferred as soon as one of them is.
    """
    states = {
        state_of(message, status, now) for status in message.statuses if not status.state.is_final
    }
    return next((one for one in states if one != "waiting"), "waiting")


def _expressions(texts: tuple[str, ...]) -> list[Expression]:
    if not texts:
        return []
    # The command line needs the states alone, and is there sooner without it.
    from postroom.core.expressions import Expression

    return [Expression(text) for text in texts]


def _name_test(names: Names) -> NameTest | None:
    return NameTest(names) if names else None


def _range(wanted: Range) -> Range | None:
    return wanted if wanted else None
