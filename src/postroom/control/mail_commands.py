"""The commands about messages, as one worker answers them.

`mail_handlers` gives the rows of the table of commands that concern one queue's messages.
With the daemon down control.offline gives the same handlers over a store it opened.

Called by: supervisor.worker, control.offline.  Raises: ControlError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from postroom.control.answers import Changed, Confirmed, ListedMessage, MailPage
from postroom.control.commands import (
    PAGE_MAX,
    MailConfirmArgs,
    MailListArgs,
    MailMoveArgs,
    MailShowArgs,
    MailVerbArgs,
    NoArgs,
)
from postroom.control.protocol import Code, ControlError
from postroom.control.server import Handler, Last
from postroom.core.errors import ContentCorrupt
from postroom.core.message import StoredMessage
from postroom.engine.seeking import SiteUnknown, Walk
from postroom.engine.steering import Steering
from postroom.engine.unconfirmed import REASON as UNCONFIRMED
from postroom.spool.store import QUARANTINE, Counts

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

    async def listing(self, args: MailListArgs) -> AsyncIterator[ListedMessage | Last]:
        """Give the messages that match, a page of them, and where the next begins."""
        limit = max(0, min(args.limit, PAGE_MAX))
        count, walk = 0, self._steering.walk(args.query, limit or 1, args.after, args.now)
        try:
            async for batch in self._steering.select(walk):
                channels = await self._steering.channels_of(batch)
                for message, of_it in zip(batch[: limit - count], channels, strict=False):
                    yield _listed(message, of_it)
                    count += 1
        except SiteUnknown as error:
            raise _no_sites(error) from error
        yield Last(MailPage(count, "" if walk.is_over else walk.after or ""))

    async def count(self, _args: NoArgs) -> Counts:
        """Return the exact counts."""
        return self._steering.counts()

    async def show(self, args: MailShowArgs) -> AsyncIterator[ListedMessage | bytes | str]:
        """Give one message, then its transcript and its content in pieces, where asked for."""
        message = await self._steering.show(args.id)
        if message is None:
            raise ControlError(f"no message {args.id} in this queue", code=Code.NOT_FOUND)
        (channels,) = await self._steering.channels_of([message])
        yield _listed(message, channels)
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
        return await self._done(args, self._steering.run, self._steering.may_run)

    async def hold(self, args: MailVerbArgs) -> Changed:
        """Hold messages."""
        reason = args.reason or DEFAULT_REASON
        return await self._done(args, lambda walk: self._steering.hold(walk, reason))

    async def release(self, args: MailVerbArgs) -> Changed:
        """Release those of the messages that are held, or scheduled and named."""
        is_meant = self._steering.may_release(args.query)
        return await self._done(args, self._steering.release, is_meant)

    async def delete(self, args: MailVerbArgs) -> Changed:
        """Forget messages."""
        return await self._done(args, self._steering.delete)

    async def quarantine(self, args: MailVerbArgs) -> Changed:
        """Hold messages as we do where trying again would do harm."""
        reason = f"{QUARANTINE}{args.reason or DEFAULT_REASON}"
        return await self._done(args, lambda walk: self._steering.hold(walk, reason))

    async def reroute(self, args: MailVerbArgs) -> Changed:
        """Choose channels and routes of messages anew, by the rules in force."""
        return await self._done(args, self._steering.reroute)

    async def confirm(self, args: MailConfirmArgs) -> Confirmed:
        """Let go messages that were kept unconfirmed, or drop them; say which are here."""
        ids, count = args.ids[:PAGE_MAX], 0
        if args.what != "look":
            count = await self._steering.confirm(ids, drop=args.what == "drop")
        here = await self._steering.among(ids)
        left = tuple(message.id for message in here if UNCONFIRMED in message.hold)
        return Confirmed(count, tuple(message.id for message in here), left)

    async def _done(
        self,
        args: MailVerbArgs,
        verb: Callable[[Walk], Awaitable[int]],
        only: Callable[[StoredMessage], bool] | None = None,
    ) -> Changed:
        return await done(self._steering, args, verb, only)


async def done(
    steering: Steering,
    args: MailVerbArgs | MailMoveArgs,
    verb: Callable[[Walk], Awaitable[int]],
    only: Callable[[StoredMessage], bool] | None = None,
) -> Changed:
    """Do a verb to a page of what is asked for, or count it; say where to go on."""
    walk = steering.walk(args.query, max(0, args.limit), args.after, args.now)
    try:
        count = await (steering.count(walk, only) if args.dry_run else verb(walk))
    except SiteUnknown as error:
        raise _no_sites(error) from error
    return Changed(count, "" if walk.is_over else walk.after or "")


def _no_sites(error: SiteUnknown) -> ControlError:
    return ControlError(str(error), "start it: postroom serve", Code.UNAVAILABLE)


def _listed(message: StoredMessage, channels: tuple[str, ...]) -> ListedMessage:
    """Return a message as an item; its replies are short enough for a line of an answer."""
    values = dict(zip(message.__struct_fields__, msgspec.structs.astuple(message), strict=True))
    if any(len(status.reply) > REPLY_CHARACTERS_MAX for status in message.statuses):
        values["statuses"] = tuple(
            msgspec.structs.replace(status, reply=status.reply[: REPLY_CHARACTERS_MAX - 1] + "…")
            if len(status.reply) > REPLY_CHARACTERS_MAX
            else status
            for status in message.statuses
        )
    return ListedMessage(**values, channels=channels)
