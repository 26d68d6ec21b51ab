"""The commands about messages, as one worker answers them.

`mail_handlers` gives the rows of the table of commands that concern one queue's messages.
With the daemon down control.offline gives the same handlers over a store it opened.

Called by: supervisor.worker, control.offline.  Raises: ControlError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from postroom.control.answers import Changed, Confirmed
from postroom.control.commands import (
    PAGE_MAX,
    MailConfirmArgs,
    MailListArgs,
    MailShowArgs,
    MailVerbArgs,
    NoArgs,
)
from postroom.control.protocol import Code, ControlError
from postroom.control.server import Handler
from postroom.core.errors import ContentCorrupt
from postroom.core.message import StoredMessage
from postroom.engine.steering import Steering
from postroom.engine.unconfirmed import REASON as UNCONFIRMED
from postroom.spool.store import QUARANTINE, Counts, Selection

REPLY_CHARACTERS_MAX = 300
"""A reply in a listing is cut here, so that a message of 1,000 recipients fits a line."""
CONTENT_OCTETS_MAX = 256 * 1024
"""Content of one item of `mail show`; base 64 makes a third more of it."""
DEFAULT_REASON = "held by the operator"


def mail_handlers(steering: Steering) -> dict[str, Handler]:
    """Return the handlers of the `mail` commands over one queue, by name of the command."""
    commands = MailCommands(steering)
    return {
        "mail list": commands.listing,
        "mail count": commands.count,
        "mail show": commands.show,
        "mail run": commands.run,
        "mail hold": commands.hold,
        "mail release": commands.release,
        "mail delete": commands.delete,
        "mail quarantine": commands.quarantine,
        "mail reroute": commands.reroute,
        "mail confirm": commands.confirm,
    }


class MailCommands:
    """The commands, one method each; arguments and answers are those of the table."""

    def __init__(self, steering: Steering) -> None:
        self._steering = steering

    async def listing(self, args: MailListArgs) -> AsyncIterator[StoredMessage]:
        """Give the messages that match, a page of them."""
        limit = max(0, min(args.limit, PAGE_MAX))
        for message in await self._steering.select(args.selection, limit, args.after):
            yield _shortened(message)

    async def count(self, _args: NoArgs) -> Counts:
        """Return the exact counts."""
        return self._steering.counts()

    async def show(self, args: MailShowArgs) -> AsyncIterator[StoredMessage | bytes | str]:
        """Give one message, then its transcript and its content in pieces, where asked for."""
        message = await self._steering.show(args.id)
        if message is None:
            raise ControlError(f"no message {args.id} in this queue", code=Code.NOT_FOUND)
        yield _shortened(message)
        if args.transcript:
            yield await self._steering.transcript(args.id)
        if not args.content:
            return
        try:
            content = await self._steering.content(args.id)
            async for chunk in content.chunks():
                for start in range(0, len(chunk), CONTENT_OCTETS_MAX):
                    yield chunk[start : start + CONTENT_OCTETS_MAX]
        except (KeyError, ContentCorrupt) as error:
            hint = "see what else is damaged: postroom fsck"
            raise ControlError(f"content of {args.id}: {error}", hint) from error

    async def run(self, args: MailVerbArgs) -> Changed:
        """Make messages due now."""
        if args.dry_run:
            return Changed(await self._steering.count(args.selection, self._steering.may_run))
        return Changed(await self._steering.run(args.selection))

    async def hold(self, args: MailVerbArgs) -> Changed:
        """Hold messages."""
        if args.dry_run:
            return await self._matching(args.selection)
        reason = args.reason or DEFAULT_REASON
        return Changed(await self._steering.hold(args.selection, reason))

    async def release(self, args: MailVerbArgs) -> Changed:
        """Release those of the messages that are held, or scheduled and named."""
        if not args.dry_run:
            return Changed(await self._steering.release(args.selection))
        is_meant = self._steering.may_release(args.selection)
        return Changed(await self._steering.count(args.selection, is_meant))

    async def delete(self, args: MailVerbArgs) -> Changed:
        """Forget messages."""
        if args.dry_run:
            return await self._matching(args.selection)
        return Changed(await self._steering.delete(args.selection))

    async def quarantine(self, args: MailVerbArgs) -> Changed:
        """Hold messages as we do where trying again would do harm."""
        if args.dry_run:
            return await self._matching(args.selection)
        reason = f"{QUARANTINE}{args.reason or DEFAULT_REASON}"
        return Changed(await self._steering.hold(args.selection, reason))

    async def reroute(self, args: MailVerbArgs) -> Changed:
        """Choose channels and routes of messages anew, by the rules in force."""
        if args.dry_run:
            return await self._matching(args.selection)
        return Changed(await self._steering.reroute(args.selection))

    async def confirm(self, args: MailConfirmArgs) -> Confirmed:
        """Let go messages that were kept unconfirmed, or drop them; say which are here."""
        ids, count = args.ids[:PAGE_MAX], 0
        if args.what != "look":
            count = await self._steering.confirm(ids, drop=args.what == "drop")
        here = await self._steering.among(ids)
        left = tuple(message.id for message in here if UNCONFIRMED in message.hold)
        return Confirmed(count, tuple(message.id for message in here), left)

    async def _matching(self, selection: Selection) -> Changed:
        """Count what a verb would be done to."""
        return Changed(await self._steering.count(selection))


def _shortened(message: StoredMessage) -> StoredMessage:
    """Return a message whose replies are short enough for a line of an answer."""
    if all(len(status.reply) <= REPLY_CHARACTERS_MAX for status in message.statuses):
        return message
    statuses = tuple(
        msgspec.structs.replace(status, reply=status.reply[: REPLY_CHARACTERS_MAX - 1] + "…")
        if len(status.reply) > REPLY_CHARACTERS_MAX
        else status
        for status in message.statuses
    )
    return msgspec.structs.replace(message, statuses=statuses)
