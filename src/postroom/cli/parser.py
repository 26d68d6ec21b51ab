"""The command line: every command with its arguments, and which function does it.

Functions are named, not imported, so that a command imports only what it needs.
docs/commands.md and the completion are made from this parser.

Called by: cli.main, cli.completion, tools.  Raises: SystemExit through argparse.
"""

from __future__ import annotations

import argparse
from typing import Any

from postroom import __version__
from postroom.cli.event_arguments import EVENTS_HELP, event_arguments
from postroom.cli.view_arguments import TOP_HELP, top_arguments
from postroom.cli.webhook_arguments import webhook_commands
from postroom.core.ids import QUEUE_ID_LENGTH

EPILOG = """\
Exit codes: 0 done; 1 a finding, or nothing matched; 2 wrong usage; 75 the server cannot be
reached, or refuses for now; 78 the configuration is wrong."""

FILTER_HELP = (
    f"which messages; all words must hold: an id ({QUEUE_ID_LENGTH} characters), "
    "domain= recipient= sender= state= channel= site= tenant= class= (also with !=), age> due< "
    "attempts> size> (also with <), reply~TEXT, header:NAME=TEXT, queue=N; or all; "
    "see docs/how-to/filters.md"
)
QUARANTINED_HELP = "quarantined messages alone; without a filter they are only counted"
VERBS = (
    ("run", "make messages due now, whatever their next try was to be; not what is scheduled"),
    ("hold", "keep messages from being tried until they are released"),
    ("release", "lift a hold; let scheduled mail go now, by id or state=scheduled"),
    ("bounce", "give up on messages; their senders get a DSN"),
    ("quarantine", "hold messages as harmful to try; release lifts it"),
    ("reroute", "choose the channel and route of messages anew, by the rules in force"),
    ("delete", "forget messages, without a report to anybody"),
)
TAKEOVER_SYSTEMS = ("postfix", "exim", "sendmail", "qmail", "mailman")
REPLY_STAGES = ("greeting", "ehlo", "mail", "rcpt", "data")
QUEUE_VERBS = (
    ("enable", "take mail and deliver it, as every queue does at first"),
    ("hold", "take mail and attempt nothing, over restarts too, until it is enabled"),
    ("drain", "take nothing new; deliver what is there, and move what waits to other queues"),
    ("offline", "finish what is in flight and close the queue, until it is enabled"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `postroom`."""
    parser = argparse.ArgumentParser(
        prog="postroom",
        description="Outbound mail queue.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help="configuration file")
    parser.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="a setting that wins over file and environment; repeatable",
    )
    parser.add_argument("--version", action="version", version=f"postroom {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _server_commands(commands)
    _mail_commands(commands)
    _other_commands(commands)
    return parser


def _server_commands(commands: Any) -> None:
    _add(commands, "serve", "run the server until TERM", "server:serve")
    _json(_add(commands, "check", "print the effective configuration", "server:check"))
    again = _json(
        _add(commands, "reload", "read the configuration again, all or nothing", "server:reload")
    )
    again.add_argument(
        "--reroute", action="store_true", help="choose the channels of queued mail anew"
    )
    stop = _add(commands, "stop", "finish what is in flight, and stop the server", "server:stop")
    stop.add_argument("--now", action="store_true", help="do not wait for attempts in flight")
    _json(_add(commands, "status", "state of the server and its queues", "server:status"))
    top_arguments(_json(_add(commands, "top", TOP_HELP, "top.command:top")))
    load = _json(_add(commands, "load", "how busy each queue is", "load:load"))
    load.add_argument("--explain", action="store_true", help="each channel, with the arithmetic")
    below = load.add_subparsers(dest="verb", metavar="[set]")
    trial = _json(_add(below, "set", "have a queue pretend a load, for trials", "load:set_load"))
    trial.add_argument("queue", metavar="QUEUE", help="queue1, or 1")
    trial.add_argument("load", metavar="LOAD|off", help="0.95 for instance; off: its own again")
    why = _json(_add(commands, "why", "why a message waits, or the mail for a site", "why:why"))
    why.add_argument(
        "what", metavar="ID|SITE|DOMAIN|CHANNEL", help="as mail list, site names or route show it"
    )
    if_so = commands.add_parser(
        "what-if", help="how long mail takes to drain", description="Forecasts; nothing is changed."
    )
    below = if_so.add_subparsers(dest="verb", metavar="WHAT", required=True)
    drain = "how long the mail of a channel takes, as things are and with other limits"
    channel = _json(_add(below, "channel", drain, "what_if:channel"))
    channel.add_argument("channel", metavar="CHANNEL", help="its name")
    channel.add_argument(
        "limit", nargs="*", metavar="LIMIT",
        help="concurrency=N, per_site.concurrency=N, rate=N/TIME, per_site.rate=N/TIME; "
        "none instead of a rate",
    )  # fmt: skip
    channel.add_argument("--explain", action="store_true", help="every limit, with the arithmetic")
    channel.add_argument(
        "--attempt-time", metavar="TIME", help="of one attempt, where none is on record"
    )
    delivery = commands.add_parser("delivery", help="delivery", description="Delivery as a whole.")
    below = delivery.add_subparsers(dest="verb", metavar="VERB", required=True)
    suspend = "make no new attempts until it is resumed, also after a restart; mail is accepted"
    _json(_add(below, "suspend", suspend, "server:delivery"))
    _json(_add(below, "resume", "make attempts again", "server:delivery"))
    _channel_commands(commands)
    _relay_commands(commands)
    _source_commands(commands)
    _site_commands(commands)
    queue = commands.add_parser("queue", help="the queues", description="The queues.")
    below = queue.add_subparsers(dest="verb", metavar="VERB", required=True)
    _json(_add(below, "list", "the queues with state, counts and place", "server:queue_list"))
    add = _json(_add(below, "add", "make one more queue and serve it", "queue_verbs:add"))
    add.add_argument(
        "--directory", default="", metavar="DIR", help="an empty directory; default: below the base"
    )
    adopt = "serve a queue that a dead server left, or a copy of it, with all its mail"
    _json(_add(below, "adopt", adopt, "queue_verbs:adopt")).add_argument(
        "directory", metavar="DIR", help="its directory, with identity, qf and df"
    )
    retire = "close an empty queue that the configuration does not ask for; its directory stays"
    _add(below, "retire", retire, "queue_verbs:retire").add_argument(
        "queue", nargs="+", metavar="QUEUE", help="queue3, or 3; repeatable"
    )
    layout = _json(
        _add(below, "layout", "where the parts of a queue lie; move them", "layout:layout")
    )
    layout.add_argument("queue", metavar="QUEUE", help="queue1, or 1")
    for part, meaning in (("qf", "control"), ("df", "content"), ("xf", "transcripts")):
        layout.add_argument(
            f"--{part}", metavar="DIR", help=f"move the {meaning} there; .: the queue's own"
        )
    layout.add_argument("--dry-run", action="store_true", help="check whether it could be done")
    for name, help_text in QUEUE_VERBS:
        verb = _json(_add(below, name, help_text, "queue_verbs:set_states"))
        verb.add_argument("queue", nargs="+", metavar="QUEUE", help="queue1, or 1; repeatable")


def _channel_commands(commands: Any) -> None:
    channel = commands.add_parser("channel", help="the channels", description="The channels.")
    below = channel.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = "the channels with rules, limits and what all queues have of them"
    _json(_add(below, "list", listing, "channels:listing"))
    suspend = "make no new attempts of a channel, over restarts too, until it is resumed"
    for name, help_text in (("suspend", suspend), ("resume", "make its attempts again")):
        verb = _json(_add(below, name, help_text, "channels:suspend"))
        verb.add_argument("channel", metavar="CHANNEL", help="its name")
    limits = "give a channel other limits than the file, over restarts and reloads too"
    verb = _json(_add(below, "set", limits, "channels:set_limits"))
    verb.add_argument("channel", metavar="CHANNEL", help="its name")
    verb.add_argument(
        "limit", nargs="+", metavar="LIMIT",
        help="concurrency=N, per_site.concurrency=N; default instead of N: as the file says",
    )  # fmt: skip


def _relay_commands(commands: Any) -> None:
    relay = commands.add_parser("relay", help="the relays", description="The relays.")
    below = relay.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = "the relays with shares and state, and other hosts that are down"
    _json(_add(below, "list", listing, "relays:listing"))
    purge = "forget that a host is down, so that it is tried at once"
    verb = _json(_add(below, "purge", purge, "relays:purge"))
    verb.add_argument("host", metavar="HOST|all", help="as relay list shows it")


def _source_commands(commands: Any) -> None:
    about = "The addresses of this machine that mail goes out from."
    source = commands.add_parser("source", help="the sources", description=about)
    below = source.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = "the sources with channels, limits and pauses"
    _json(_add(below, "list", listing, "sources:listing"))
    pause = "make no new attempts from a source, over restarts too; others take its mail"
    verb = _json(_add(below, "pause", pause, "sources:pause"))
    verb.add_argument("source", metavar="SOURCE", help="its name")
    verb.add_argument(
        "--for", dest="duration", default="", metavar="TIME", help="1h; default: until resumed"
    )
    verb.add_argument("--reason", default="", metavar="TEXT", help="shown by source list and why")
    site = "only towards this site, as route shows it"
    verb.add_argument("--site", default="", metavar="SITE", help=site)
    resume = "use a source again, whoever paused it"
    verb = _json(_add(below, "resume", resume, "sources:resume"))
    verb.add_argument("source", metavar="SOURCE", help="its name")
    verb.add_argument("--site", default="", metavar="SITE", help=site)


def _site_commands(commands: Any) -> None:
    site = commands.add_parser("site", help="the sites", description="The sites and their hosts.")
    below = site.add_subparsers(dest="verb", metavar="VERB", required=True)
    named = "a site, host or channel; * matches anything"
    listing = "the sites with their hosts, as all queues see them, and hosts that are down"
    verb = _json(_add(below, "list", listing, "sites:listing"))
    verb.add_argument("name", nargs="?", default="", metavar="NAME", help=named)
    purge = "have sites that rest, and hosts that are down, tried at once"
    verb = _json(_add(below, "purge", purge, "sites:purge"))
    verb.add_argument("name", nargs="?", default="", metavar="NAME", help=named)
    verb.add_argument("--all", action="store_true", help="all of them")
    verb.add_argument("--dry-run", action="store_true", help="say which, no more")
    lessons = "what replies have said of sites by reply rules, and until when it holds"
    _json(_add(below, "lessons", lessons, "lessons:lessons"))
    resume = _json(
        _add(below, "resume", "lift what reply rules do to a site, in all queues", "lessons:resume")
    )
    resume.add_argument("site", metavar="SITE|all", help="as site lessons, why or route show it")


def _mail_commands(commands: Any) -> None:
    inject = _json(_add(commands, "inject", "hand messages to a queue", "submit:inject"))
    inject.add_argument("file", nargs="*", metavar="FILE", help="messages; none or -: stdin")
    inject.add_argument("-f", "--sender", metavar="ADDRESS", help='default: the header; "": null')
    inject.add_argument(
        "-r", "--recipient", action="append", metavar="ADDRESS",
        help="default: To, Cc and Bcc of the header; repeatable",
    )  # fmt: skip
    inject.add_argument("--envid", default="", metavar="TEXT", help="ENVID (RFC 3461)")
    inject.add_argument("--ret", default="", choices=("full", "hdrs"), help="what DSNs return")
    inject.add_argument("--notify", default="", metavar="WORDS", help="success,failure,delay")
    inject.add_argument("--hold-for", default="", metavar="TIME", help="send it later: in 2h")
    inject.add_argument(
        "--hold-until", default="", metavar="MOMENT", help="send it then: 2026-12-01T08:00Z"
    )
    inject.add_argument(
        "--priority", type=int, default=0, metavar="N", help="-9 to 9, more is more urgent"
    )
    inject.add_argument(
        "--deliver-within", default="", metavar="TIME", help="a deadline: 1h after it may be sent"
    )
    inject.add_argument(
        "--late", default="", choices=("notify", "return"), help="what becomes of it after that"
    )

    takeover = _json(
        _add(commands, "import", "take over a stopped system's queue", "takeover:take_over")
    )
    takeover.add_argument(
        "--from", dest="system", required=True, choices=TAKEOVER_SYSTEMS,
        help="whose queue it is",
    )  # fmt: skip
    takeover.add_argument(
        "--dry-run", action="store_true", help="count and show a few, write nothing"
    )
    takeover.add_argument("--force", action="store_true", help="although the system seems to run")
    takeover.add_argument("directory", metavar="DIR", help="its queue; nothing there is changed")

    mail = commands.add_parser("mail", help="messages", description="Messages in the queues.")
    below = mail.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = _json(_add(below, "list", "list messages", "mail:listing"))
    listing.add_argument("filter", nargs="*", metavar="FILTER", help=FILTER_HELP)
    listing.add_argument(
        "--limit", type=int, default=1000, metavar="N", help="at most so many (0: all)"
    )
    listing.add_argument("-Q", "--quarantined", action="store_true", help=QUARANTINED_HELP)
    show = _json(_add(below, "show", "all about one message", "mail:show"))
    show.add_argument("id", metavar="ID", help="the queue id")
    show.add_argument("--raw", action="store_true", help="its content instead, octet for octet")
    show.add_argument(
        "--transcript", action="store_true", help="what was said in attempts that failed"
    )
    count = _json(_add(below, "count", "exact counts of each queue, at once", "mail:count"))
    count.add_argument(
        "filter", nargs="*", metavar="FILTER", help="count what it names, one by one instead"
    )
    for name, help_text in VERBS:
        verb = _json(_add(below, name, help_text, "mail_verbs:verb"))
        verb.add_argument("filter", nargs="*", metavar="FILTER", help=FILTER_HELP)
        verb.add_argument("--dry-run", action="store_true", help="count and show a few, no more")
        if name in ("hold", "quarantine", "bounce"):
            what = "told to the sender" if name == "bounce" else "kept with the hold"
            verb.add_argument("--reason", default="", metavar="TEXT", help=what)
        if name in ("delete", "bounce"):
            verb.add_argument("--yes", action="store_true", help="needed on a terminal")

    move = _json(_add(below, "move", "move messages to another queue", "mail_verbs:move"))
    move.add_argument("filter", nargs="*", metavar="FILTER", help=FILTER_HELP)
    move.add_argument("--queue", required=True, metavar="QUEUE", help="where to: queue2, or 2")
    move.add_argument("--dry-run", action="store_true", help="count and show a few, no more")

    mailq = _json(_add(commands, "mailq", "the queues as sendmail lists them", "mailq:run"))
    mailq.add_argument("filter", nargs="*", metavar="FILTER", help=FILTER_HELP)
    mailq.add_argument("-c", "--counts", action="store_true", help="only the numbers")
    mailq.add_argument("-Q", "--quarantined", action="store_true", help=QUARANTINED_HELP)
    _add(commands, "sendmail", "the sendmail command, with its own options", "main:sendmail")


def _other_commands(commands: Any) -> None:
    route = _json(_add(commands, "route", "explain where mail goes, and why", "explain:route"))
    route.add_argument("address", nargs="+", metavar="ADDRESS", help="an address or a domain")
    route.add_argument(
        "--sender", default="", metavar="ADDRESS", help="the reverse-path; <>: the null one"
    )
    route.add_argument("--listener", default="", metavar="NAME", help="where it comes in")
    route.add_argument("--user", default="", metavar="NAME", help="the authenticated user")
    route.add_argument(
        "--tenant", default="", metavar="NAME", help="default: the one that these lead to"
    )
    route.add_argument("--tag", default="", metavar="TAG", help="the tag in its header")
    route.add_argument("--priority", type=int, default=0, metavar="N", help="its MT-PRIORITY")
    table = _json(
        _add(commands, "retry-table", "when deferred mail is tried again", "explain:retry_table")
    )
    table.add_argument("channel", nargs="?", default="default", metavar="CHANNEL")
    table.add_argument("--limit", type=int, default=50, metavar="N", help="lines (0: all)")
    reply = _json(
        _add(commands, "reply-test", "which reply rule takes a reply, and what it would do",
             "reply_test:reply_test")
    )  # fmt: skip
    reply.add_argument("--site", default="", metavar="HOST", help="the host that says it")
    reply.add_argument(
        "--domain", default="", metavar="DOMAIN", help="the recipient's, for rules by domain"
    )
    reply.add_argument(
        "--stage", default="", choices=REPLY_STAGES, help="when it is said; default: any"
    )
    reply.add_argument(
        "reply", nargs="+", metavar="REPLY", help="as the log shows it: '421 4.7.28 ...'"
    )
    fsck = _json(_add(commands, "fsck", "check the queues on disk", "repair:fsck"))
    fsck.add_argument("--repair", action="store_true", help="repair; mail is never deleted")
    bench = _json(_add(commands, "bench", "measure this machine, with a server of its own",
                       "bench:bench"))  # fmt: skip
    add = bench.add_argument
    add("--queues", default="1,2,4,8", metavar="N,N", help="numbers of queues to measure")
    add("--sync", default="full", metavar="MODES", help="full, none, or full,none")
    add("--messages", type=int, default=5000, metavar="N", help="messages of each run")
    add("--octets", type=int, default=4096, metavar="N", help="length of a message")
    add("--sessions", type=int, default=20, metavar="N", help="simultaneous sessions")
    add("--connections", default="kept", choices=("kept", "new"), help="kept open, or one each")
    add("--runs", type=int, default=3, metavar="N", help="runs of each; the median is shown")
    add("--directory", default="", metavar="DIR", help="spools lie below it, on its disk")
    add("--csv", default="", metavar="FILE", help="write all runs there")
    add("--plot", default="", metavar="FILE", help="write a plot there (SVG)")
    _add(commands, "sink", "a test destination that plays any reply", "main:sink")
    users = _add(commands, "user-hash", "a line for the users file", "users:user_hash")
    users.add_argument("name", metavar="NAME", help="the user; the password is asked for")
    _token_commands(commands)
    event_arguments(_json(_add(commands, "events", EVENTS_HELP, "events:events")))
    webhook_commands(commands, _add)
    completion = _add(commands, "completion", "completion for a shell", "completion:run")
    completion.add_argument(
        "shell", choices=("bash", "zsh", "fish", "words"),
        help="have your shell read it at its start; words: what may follow the words behind it",
    )  # fmt: skip
    completion.add_argument("words_so_far", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    man = _add(commands, "man", "manual pages: list them, show one, write them all", "manual:run")
    man.add_argument("page", nargs="?", default="", metavar="PAGE", help="mail, postroom.toml ...")
    man.add_argument("--install", default="", metavar="DIR", help="write them there, in man1, man5")
    man.add_argument("--old-names", action="store_true", help="sendmail(1) and mailq(1) as well")
    _json(_add(commands, "version", "the version", "main:version"))


def _token_commands(commands: Any) -> None:
    token = commands.add_parser(
        "token", help="who may use the HTTP API", description="Tokens of the HTTP API."
    )
    below = token.add_subparsers(dest="verb", metavar="VERB", required=True)
    create = _json(_add(below, "create", "make a token, and show it this once", "token:create"))
    create.add_argument("name", metavar="NAME", help="whose it is; shown in lists")
    create.add_argument(
        "--role", required=True, choices=("viewer", "operator", "injector"),
        help="to look; to look, change and send; to send alone",
    )  # fmt: skip
    create.add_argument("--expires", default="", metavar="TIME", help="after 90d; default: never")
    create.add_argument(
        "--sender-domain", action="append", metavar="DOMAIN",
        help="an injector may send only from it, or from this address; repeatable",
    )  # fmt: skip
    create.add_argument(
        "--tenant", default="", metavar="NAME", help="an injector may send only its mail"
    )
    _json(_add(below, "list", "the tokens that are valid", "token:listing"))
    revoke = _json(_add(below, "revoke", "make a token invalid, at once", "token:revoke"))
    revoke.add_argument("name", metavar="NAME", help="its name or its id")


def _add(commands: Any, name: str, help_text: str, does: str) -> argparse.ArgumentParser:
    description = f"{help_text[0].upper()}{help_text[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=description
    )
    parser.set_defaults(does=does)
    return parser


def _json(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    return parser
