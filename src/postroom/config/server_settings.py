"""Settings of the machine, the spool, the listeners and the log.

Called by: config.settings.  Raises: nothing.
"""

from __future__ import annotations

from postroom.config.addresses import Address, Hostname, NetworkText
from postroom.config.kinds import Boolean, Choice, FilePath, ListOf, Text
from postroom.config.measures import Bound, Duration, Integer, LoadMark, Share, Size
from postroom.config.model import Config, LogPolicy
from postroom.config.replies import RepliesPolicy
from postroom.config.server import ServerPolicy
from postroom.config.setting import Setting, Table
from postroom.groups.scaling import ScalingPolicy
from postroom.hooks.runner import PolicySettings
from postroom.ingress.policy import ListenPolicy
from postroom.observe.log import NOWHERE
from postroom.spool.policy import SpoolPolicy

DAY = 86400.0
KIB, GIB = 1 << 10, 1 << 30
_NETWORKS = ListOf(NetworkText())

GENERAL = Table(
    "",
    "Before the first table.",
    Config,
    (
        Setting(
            "hostname", Hostname(), "hostname",
            "The name of this machine in greetings, EHLO, Received headers and DSNs. Remote "
            "hosts expect a name that leads to this machine's address.",
            '"mail.example.org"', default="the machine's own name",
        ),
        Setting(
            # RFC 5322 §3.6.8: visible US-ASCII without a colon.
            "tag_header", Text(76, "the name of a header field", "[!-9;-~]+"), "tag_header",
            "The header field in which `tag:` rules of channels find the tag of a message. It is "
            "read only where there are such rules.", '"X-Campaign"',
        ),
    ),
)  # fmt: skip

SERVER = Table(
    "server",
    "Who the server is on this machine.",
    ServerPolicy,
    (
        Setting(
            "user", Text(32, "the name of a user", "[A-Za-z_][A-Za-z0-9_.-]*[$]?"), "user",
            "Whom the server becomes when root starts it. Root binds the sockets; everything else "
            "is this user's, files that are read at a reload too. Started by root without it, the "
            'server refuses to listen anywhere but on loopback; `"root"` says that it shall.',
            '"postroom"', default="none: it stays who starts it", restart=True,
        ),
    ),
)  # fmt: skip

SPOOL = Table(
    "spool",
    "Where mail is kept. The queues are the directories `queue1`, `queue2` … below `base`, or "
    "those that `directories` names.",
    SpoolPolicy,
    (
        Setting(
            "base", FilePath(), "base",
            "The directory that holds the queues. It is made with mode 0700 if it is missing.",
            '"/var/spool/postroom"',
            default="`$XDG_STATE_HOME/postroom`, or `~/.local/state/postroom`", restart=True,
        ),
        Setting(
            "start", Integer(1, 9999), "start",
            "The number of the first queue.", "1", restart=True,
        ),
        Setting(
            "count", Integer(1, 64), "count",
            "How many queues there are; each has a worker process of its own. One for each "
            "core is a good number.", "4", restart=True,
        ),
        Setting(
            "max", Integer(0, 64), "max",
            "Up to how many queues the server makes by itself when all that there are are busy; "
            "they drain and go again when the load falls. Those beyond `count` lie below `base`.",
            "8", default="`count`: their number is fixed",
        ),
        Setting(
            "load", LoadMark(0.05, 10.0), "load",
            "The load (`postroom load`) that every queue must be above before another is made.",
            "0.9",
        ),
        Setting(
            "directories", ListOf(FilePath(), most=64), "directories",
            "Directories to use as queues instead, on other disks for instance: paths and "
            "patterns, links too. They must exist and be empty at first; they are numbered "
            "from `start` in this order, once and for all. A pattern is looked at when the "
            "server starts. `count` does not matter then.",
            '"/var/queues/q.*"', restart=True,
        ),
        Setting(
            "sync", Choice(("full", "none")), "sync",
            "`full`: a message is on the disk before it is acknowledged. `none`: only handed to "
            "the operating system; mail may be lost when the machine stops.",
            '"full"', restart=True,
        ),
        Setting(
            "reserve", Size(0, 1 << 50), "reserve_octets",
            "Space that stays free on each file system; below it new mail gets `452 4.3.1`.",
            '"1 GiB"', restart=True,
        ),
        Setting(
            "segment_size", Size(64 * KIB, 4 * GIB), "segment_octets",
            "The size at which a content segment is closed and the next one begun.",
            '"64 MiB"', restart=True,
        ),
        Setting(
            "compact_below", Share(0.0, 0.9), "compact_below",
            "A closed segment whose live share falls below this is compacted; 0 never compacts.",
            "0.25", restart=True,
        ),
    ),
    later={
        "groups": "use the tables group.NAME",
        "placement": "use group.default.placement",
    },
)  # fmt: skip

SCALING = Table(
    "scaling",
    "How fast queues are made and go, where `spool.max` is above `spool.count`.",
    ScalingPolicy,
    (
        Setting(
            "interval", Duration(0.1, 3600), "interval_s",
            "How often the load is looked at.", '"5s"',
        ),
        Setting(
            "samples", Integer(1, 1000), "samples",
            "How often in a row it must be found so before anything is done.", "6",
        ),
        Setting(
            "cool_down", Duration(0.1, DAY), "cool_down_s",
            "The least time between two changes; also between tries to make a queue that fail, "
            "at first.", '"1m"',
        ),
        Setting(
            "low", Share(0.0, 5.0), "low",
            "The load that the other queues must stay below without the one that goes.", "0.4",
            default="half of `spool.load`",
        ),
        Setting(
            "minimum_life", Duration(0, 30 * DAY), "minimum_life_s",
            "How long a queue is kept that was made.", '"10m"',
        ),
        Setting(
            "backlog_age", Duration(1, 30 * DAY), "backlog_age_s",
            "Where in every queue mail has waited longer than this for its turn, another queue "
            "is made as well.", '"5m"',
        ),
    ),
)  # fmt: skip

REPLIES = Table(
    "replies",
    "What replies of providers teach: rules that suspend a site, slow it down or have its mail "
    "wait (`docs/how-to/reply-rules.md`).",
    RepliesPolicy,
    (
        Setting(
            "file", FilePath(), "file",
            "A file of rules of your own; they go before those that are shipped, and one of the "
            "same name takes the place of a shipped rule.",
            '"replies.toml"', default="none",
        ),
        Setting(
            "shipped", Boolean(), "shipped",
            "Whether the rules for large providers that are shipped are used.", "false",
        ),
    ),
)  # fmt: skip

POLICY = Table(
    "policy",
    "A file of functions in Python that are asked about clients, recipients, messages and "
    "destinations (`docs/how-to/policy.md`).",
    PolicySettings,
    (
        Setting(
            "file", FilePath(), "file",
            "The file. It is code: only the server's user or root may be able to write to it.",
            '"policy.py"', default="none",
        ),
        Setting(
            "time_limit", Duration(0.001, 10), "time_limit_s",
            "How long a function may take; everything else waits meanwhile.", '"50ms"',
        ),
        Setting(
            "on_failure", Choice(("defer", "accept")), "on_failure",
            "What becomes of a question whose function fails: `defer`: the client is told to come "
            "again; `accept`: as if there were no function. Where `route` fails the mail is "
            "deferred in either case.", '"accept"',
        ),
    ),
)  # fmt: skip

LISTEN = Table(
    "listen",
    "One listener. Without any, `listen.smtp` takes mail on port 2525 of the loopback "
    "addresses.",
    ListenPolicy,
    (
        Setting(
            "address", ListOf(Address(literal=True, port_least=0), least=1, most=64), "address",
            "Addresses and ports to listen on. Port 0 takes any free port.",
            '["127.0.0.1:25", "[::1]:25"]', restart=True,
        ),
        Setting(
            "relay_from", _NETWORKS, "relay_from",
            "Clients that may relay without authentication. Networks larger than /8 (IPv6: /16) "
            "are refused: that would be an open relay.",
            '["127.0.0.0/8", "::1", "10.1.0.0/16"]',
        ),
        Setting(
            "hostname", Hostname(), "hostname",
            "The name in this listener's greeting.", '"submit.example.org"',
            default="the general `hostname`",
        ),
        Setting(
            "tls", Choice(("none", "starttls", "implicit")), "tls",
            "`starttls` offers the command; `implicit` begins with TLS.", '"implicit"',
            default='`"starttls"` where `tls_certificate` is set, else `"none"`', restart=True,
        ),
        Setting(
            "tls_certificate", FilePath(), "tls_certificate",
            "Certificate chain (PEM).", '"/etc/postroom/tls/fullchain.pem"', default="none",
        ),
        Setting(
            "tls_key", FilePath(), "tls_key",
            "The certificate's private key (PEM, not encrypted). Others must not be able to "
            "read it.", '"/etc/postroom/tls/key.pem"', default="none",
        ),
        Setting(
            "auth_users", FilePath(), "auth_users",
            "The users file: who may authenticate and so relay. Others must not be able to read "
            "it.", '"/etc/postroom/users"', default="none: nobody can authenticate",
        ),
        Setting(
            "auth_plaintext_loopback", Boolean(), "auth_plaintext_loopback",
            "Allow AUTH without TLS to clients on the loopback addresses.", "true",
        ),
        Setting(
            "proxy_protocol", _NETWORKS, "proxy_protocol",
            "Clients that must begin with a PROXY protocol header, version 1 or 2.",
            '["10.0.0.5"]',
        ),
        Setting(
            "future_release", Duration(1, 3650 * DAY, never=True), "future_release_s",
            "How far ahead a client may schedule its mail (FUTURERELEASE, RFC 4865). Programs of "
            "this machine have the widest bound of all listeners.", '"7d"',
        ),
        Setting(
            "mt_priority_max", Bound(-9, 9), "mt_priority_max",
            "The best priority that a client may ask for (MT-PRIORITY, RFC 6710), from -9 to 9; "
            "more is lowered to it, and the client told. `none` offers no priorities. Programs of "
            "this machine may ask for any.", "4",
        ),
        Setting(
            "deliver_by_min", Duration(1, DAY, never=True), "deliver_by_min_s",
            "The shortest time in which a client may want its mail delivered or else returned "
            "(DELIVERBY, RFC 2852); `never` offers no deadlines.", '"1m"',
        ),
        Setting(
            "xclient", _NETWORKS, "xclient",
            "Clients that may use XCLIENT.", '["127.0.0.1"]',
        ),
        Setting(
            "bare_newline", Choice(("refuse", "normalise")), "bare_newline",
            "What happens to content with a CR or LF alone: `550 5.6.11`, or it becomes CRLF.",
            '"normalise"',
        ),
        Setting(
            "size_limit", Size(KIB, 2 * GIB), "size_limit_octets",
            "The largest message that is taken.", '"50 MiB"',
        ),
        # RFC 5321 §4.5.3.1.8: at least 100 recipients must be taken.
        Setting(
            "recipients_max", Integer(100, 100_000), "recipients_max",
            "Recipients of one message; more get `452 4.5.3`.", "1000",
        ),
        Setting(
            "messages_max", Integer(1, 1_000_000), "messages_max",
            "Messages of one session.", "1000",
        ),
        Setting(
            "sessions_max", Integer(1, 100_000), "sessions_max",
            "Sessions at one time, for each worker; more get `421`. Where the process may open "
            "fewer files than that needs, clients wait instead, and the log says so.", "1000",
        ),
        Setting(
            "sessions_per_client_max", Integer(1, 100_000), "sessions_per_client_max",
            "Sessions of one client address at one time, for each worker.", "50",
        ),
        Setting(
            "errors_max", Integer(1, 10_000), "errors_max",
            "Errors after which a session is ended.", "20",
        ),
        # RFC 5321 §6.3: a limit of at least 100 Received lines.
        Setting(
            "hops_max", Integer(10, 1000), "hops_max",
            "Received headers from which on a message is taken for a loop.", "100",
        ),
        Setting(
            "idle_timeout", Duration(1, DAY), "idle_timeout_s",
            "How long a session may be silent.", '"5m"',
        ),
        Setting(
            "session_timeout", Duration(1, 7 * DAY), "session_timeout_s",
            "How long a session may last.", '"2h"',
        ),
    ),
    named=True,
)  # fmt: skip

LOG = Table(
    "log",
    "The event log.",
    LogPolicy,
    (
        Setting(
            "path", FilePath(instead=("-", NOWHERE)), "path",
            "A file, `-` for standard error, or `none`.", '"/var/log/postroom/events"',
            restart=True,
        ),
        Setting(
            "format", Choice(("text", "json")), "format",
            "`text` for people, `json` for programs: one event per line.", '"json"',
            restart=True,
        ),
    ),
)  # fmt: skip
