"""The one table of commands: name, arguments, who answers, one line of help.

Servers dispatch by it, the CLI and the documentation derive from it.
Called by: control.server, control.client, cli, tools.  Raises: nothing.
"""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec

from postroom.core.ids import QueueId
from postroom.spool.query import Query

PAGE_MAX = 1000
"""Items of one listing answer; a longer listing is asked for in pages, by `after`."""


class Audience(enum.StrEnum):
    """Who answers a command: the master, every worker, or any one worker."""

    MASTER = "master"
    EACH = "each"
    ANY = "any"


class NoArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command without arguments."""


class StopArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`now`: do not wait for attempts in flight."""

    now: bool = False


class MailListArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages, at most how many, and after which id.

    `now` is the moment that ages count from, 0 the present: give the pages of one walk the same.
    """

    query: Query = Query()
    limit: int = PAGE_MAX
    after: QueueId | None = None
    now: float = 0.0


class MailShowArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which message; `content`: its octets too; `transcript`: what failed attempts heard."""

    id: QueueId
    content: bool = False
    transcript: bool = False


class MailVerbArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages; `reason` is kept with a hold; `dry_run` only counts.

    It is done to at most `limit` messages (0: all) behind the id `after`; the answer says behind
    which id to go on. `now` is the moment that ages count from, 0 the present.
    """

    query: Query = Query()
    reason: str = ""
    dry_run: bool = False
    limit: int = 0
    after: QueueId | None = None
    now: float = 0.0


class MailConfirmArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages, at most PAGE_MAX, and what of them.

    `what` is confirm; or drop: they are not wanted after all, and nobody was told of them; or
    look: only say which are here.
    """

    ids: tuple[QueueId, ...]
    what: Literal["confirm", "drop", "look"] = "confirm"


class MailMoveArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages, and the number of the queue they go to; `dry_run` only counts.

    The rest is as of MailVerbArgs; at most PAGE_MAX are moved by one request.
    """

    to: int
    query: Query = Query()
    limit: int = PAGE_MAX
    dry_run: bool = False
    after: QueueId | None = None
    now: float = 0.0


class QueueVerbArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which queue."""

    queue: int


class QueueAddArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the queue lies, or is to lie: for a new one "" means below the base."""

    directory: str = ""


class QueueLayoutArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which queue, and where its parts (qf, df, xf) are to lie; "" is its own directory."""

    queue: int
    wanted: dict[str, str]


class LoadSetArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which queue is to pretend which load, in parts per million; -1: its own again."""

    queue: int
    load_ppm: int


class ChannelArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which channel."""

    name: str


class ChannelSetArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which channel, and its limits by names of settings; null: what the file says."""

    name: str
    limits: dict[str, int | None]


class RouteArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The address (or domain) to explain, and the message that rules may be about.

    "" means that nothing is known of it; a `sender` of "<>" is the null reverse-path.
    """

    address: str
    sender: str = ""
    listener: str = ""
    user: str = ""
    tenant: str = ""
    tag: str = ""


class WhyArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A queue id; or a site, a channel or a domain."""

    id: QueueId | None = None
    what: str = ""


class HostArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which host, as "name:port"; "" is all."""

    host: str = ""


class SourcePauseArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which source; towards which site, "" all; for how long, 0 until it is resumed; and why."""

    name: str
    site: str = ""
    for_s: float = 0.0
    reason: str = ""


class SourceArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which source; towards which site, "" all."""

    name: str
    site: str = ""


class SiteArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which site of which channel."""

    channel: str
    site: str


class OverviewArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which sites come along: the first `limit` by `order` (control.orders).

    `text` is in the name of the site or its channel; `channel` is one channel alone; "" is any.
    """

    order: str = "trouble"
    limit: Annotated[int, msgspec.Meta(ge=0, le=PAGE_MAX)] = 50
    text: str = ""
    channel: str = ""


class LessonArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of which site; "" is all."""

    site: str = ""


class Command(msgspec.Struct, frozen=True):
    """One row of the table. `streams`: the answer is a listing, one line an item."""

    name: str
    args: type[msgspec.Struct]
    audience: Audience
    help: str
    streams: bool = False


COMMANDS: tuple[Command, ...] = (
    Command("ping", NoArgs, Audience.MASTER, "say who is there"),
    Command("status", NoArgs, Audience.MASTER, "state of the server and of each queue"),
    Command("reload", NoArgs, Audience.MASTER, "read the configuration again, all or nothing"),
    Command("stop", StopArgs, Audience.MASTER, "finish what is in flight and stop"),
    Command("log reopen", NoArgs, Audience.MASTER, "open the event log anew, after rotation"),
    Command("queue list", NoArgs, Audience.MASTER, "the queues with state and counts", True),
    Command("queue add", QueueAddArgs, Audience.MASTER, "make one more queue and serve it"),
    Command("queue adopt", QueueAddArgs, Audience.MASTER, "serve a queue that another left"),
    Command("queue retire", QueueVerbArgs, Audience.MASTER, "close an empty queue for good"),
    Command("queue layout", QueueLayoutArgs, Audience.MASTER, "move parts of a queue", True),
    Command("queue enable", QueueVerbArgs, Audience.MASTER, "take mail and deliver it"),
    Command("queue hold", QueueVerbArgs, Audience.MASTER, "take mail and attempt nothing"),
    Command("queue drain", QueueVerbArgs, Audience.MASTER, "take nothing new; deliver the rest"),
    Command("queue offline", QueueVerbArgs, Audience.MASTER, "close it, and leave it closed"),
    Command("overview", OverviewArgs, Audience.EACH, "what the queue is like, for people"),
    Command("overview server", NoArgs, Audience.MASTER, "what the master knows, for an overview"),
    Command("load", NoArgs, Audience.EACH, "the load of the queue, and what makes it"),
    Command("load set", LoadSetArgs, Audience.MASTER, "have a queue pretend a load, for trials"),
    Command("channel list", NoArgs, Audience.MASTER, "the channels, and what is set of them", True),
    Command("channel count", NoArgs, Audience.EACH, "what the queue has of each channel", True),
    Command(
        "channel work", ChannelArgs, Audience.EACH, "what is to be done of it, and its pace", True
    ),
    Command(
        "channel gone", NoArgs, Audience.EACH, "which channels have the mail of those gone", True
    ),
    Command("channel suspend", ChannelArgs, Audience.MASTER, "make no attempts of a channel"),
    Command("channel resume", ChannelArgs, Audience.MASTER, "make attempts again"),
    Command("channel set", ChannelSetArgs, Audience.MASTER, "give a channel other limits"),
    Command("delivery suspend", NoArgs, Audience.MASTER, "make no new attempts; accept mail"),
    Command("delivery resume", NoArgs, Audience.MASTER, "make attempts again"),
    Command("delivery run", NoArgs, Audience.MASTER, "make every deferred recipient due now"),
    Command("mail list", MailListArgs, Audience.EACH, "list messages", True),
    Command("mail count", NoArgs, Audience.EACH, "count messages, recipients and octets"),
    Command("mail show", MailShowArgs, Audience.EACH, "show one message", True),
    Command("mail run", MailVerbArgs, Audience.EACH, "make messages due now"),
    Command("mail hold", MailVerbArgs, Audience.EACH, "keep messages from being tried"),
    Command("mail release", MailVerbArgs, Audience.EACH, "undo hold"),
    Command("mail delete", MailVerbArgs, Audience.EACH, "forget messages, without a report"),
    Command("mail bounce", MailVerbArgs, Audience.EACH, "give messages up, with a report"),
    Command("mail quarantine", MailVerbArgs, Audience.EACH, "hold messages as harmful"),
    Command("mail reroute", MailVerbArgs, Audience.EACH, "choose the channels of messages anew"),
    Command("mail confirm", MailConfirmArgs, Audience.EACH, "let go what was kept unconfirmed"),
    Command("mail move", MailMoveArgs, Audience.EACH, "move messages to another queue"),
    Command("why", WhyArgs, Audience.EACH, "why a message waits, or the mail for a site"),
    Command("relay list", NoArgs, Audience.MASTER, "the relays, and hosts that are down", True),
    Command("relay purge", HostArgs, Audience.MASTER, "forget that a host is down"),
    Command("source list", NoArgs, Audience.MASTER, "the sources, and what is paused", True),
    Command("source pause", SourcePauseArgs, Audience.MASTER, "make no attempts from a source"),
    Command("source resume", SourceArgs, Audience.MASTER, "use a source again"),
    Command("site list", NoArgs, Audience.EACH, "the sites, host by host", True),
    Command("site purge", SiteArgs, Audience.EACH, "end the rest of a site"),
    Command("site lessons", NoArgs, Audience.MASTER, "what replies have said of sites", True),
    Command("site resume", LessonArgs, Audience.MASTER, "lift what reply rules do to a site"),
    Command("route", RouteArgs, Audience.ANY, "explain where mail to an address goes"),
)

BY_NAME: dict[str, Command] = {command.name: command for command in COMMANDS}
