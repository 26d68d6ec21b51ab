"""Settings of routes, channels, the engine and the resolver.

Called by: config.settings, config.build.  Raises: nothing.
"""

from __future__ import annotations

from typing import Any

from postroom.channels.overrides import CONCURRENCY_MAX
from postroom.channels.policy import ChannelPolicy
from postroom.config.addresses import Address, OneRelay, PoolMember
from postroom.config.kinds import Boolean, Choice, FilePath, ListOf, Text
from postroom.config.measures import Bound, Duration, Integer, Size
from postroom.config.schedules import Hours, MatchRule, Rated, Retry, TimeZone
from postroom.config.setting import Setting, Table
from postroom.core.limits import LimitsPolicy
from postroom.engine.policy import EnginePolicy
from postroom.routing.policy import (
    DiscardRoute,
    LmtpRoute,
    MaildirRoute,
    MxRoute,
    PipeRoute,
    RelayRoute,
    ResolverPolicy,
)

HOUR, DAY = 3600.0, 86400.0
GIB = 1 << 30
_ATTEMPTS = "simultaneous attempts"

ROUTES: dict[str, type[Any]] = {
    "mx": MxRoute,
    "relay": RelayRoute,
    "lmtp": LmtpRoute,
    "maildir": MaildirRoute,
    "pipe": PipeRoute,
    "discard": DiscardRoute,
}

ROUTE = Table(
    "route",
    "One way of delivery. `route.default` is by MX unless it says otherwise.",
    MxRoute,
    (
        Setting(
            "type", Choice(tuple(ROUTES)), "",
            "`mx`: the hosts that DNS names; `relay`: relays of your own; `lmtp`: an LMTP "
            "server; `maildir`: a directory; `pipe`: a program; `discard`: nowhere.",
            '"relay"', default='`"mx"` for `route.default`; else it must be set',
        ),
        Setting(
            "host", OneRelay(), "relays",
            "The only relay.", '"smtp.example.net:587"', default="port 25", types=("relay",),
        ),
        Setting(
            "relays", ListOf(PoolMember(), least=1, most=100), "relays",
            "Relays with their weight (1 to 1000) and tier (1 to 9); tier 2 is for when tier 1 "
            "is down.",
            '[{ host = "a.example:25", weight = 70 }, { host = "b.example:25", weight = 30 }]',
            default="weight 1, tier 1", types=("relay",),
        ),
        Setting(
            "policy", Choice(("weighted", "sequence", "random", "least-connections")), "policy",
            "How a relay is chosen.", '"sequence"', types=("relay",),
        ),
        Setting(
            "probe", Duration(1, HOUR), "probe_s",
            "How long a host that is down is passed over; then one attempt of all queues "
            "tries it. It is twice as long after each that fails.",
            '"30s"', types=("relay", "mx"),
        ),
        Setting(
            "probe_max", Duration(1, HOUR / 2), "probe_max_s",
            "How long that becomes at most.", '"5m"', types=("relay", "mx"),
        ),
        Setting(
            "user", Text(255, "a user name of at most 255 characters", ".+"), "user",
            "The name to authenticate with.", '"postroom"', default="none", types=("relay",),
        ),
        Setting(
            "password_file", FilePath(), "password_file",
            "The file whose first line is the password. Others must not be able to read it.",
            '"/etc/postroom/relay.password"', default="none", types=("relay",),
        ),
        Setting(
            "port", Integer(1, 65535), "port",
            "The port of MX hosts; other than 25 only for trials.", "25", types=("mx",),
        ),
        Setting(
            "tls", Choice(("none", "opportunistic", "require", "verify", "implicit")), "tls.mode",
            "`opportunistic`: STARTTLS where offered, any certificate; `require`: STARTTLS or "
            "nothing; `verify`: and the certificate is checked; `implicit`: TLS from the first "
            "octet, checked.",
            '"verify"',
            default='`"opportunistic"`; with `user`: `"verify"`, on port 465 `"implicit"`',
            types=("mx", "relay"),
        ),
        Setting(
            "ca_file", FilePath(), "tls.ca_file",
            "Certificates (PEM) that are trusted instead of the system's.",
            '"/etc/postroom/ca.pem"', default="the system's", types=("mx", "relay"),
        ),
        Setting(
            "address", Address(unix=True), "address",
            "The LMTP server.", '"unix:/run/dovecot/lmtp"', types=("lmtp",),
        ),
        Setting(
            "path", FilePath(), "path",
            "The maildir; `{local}`, `{domain}` and `{address}` are replaced.",
            '"/srv/mail/{domain}/{local}"', types=("maildir",),
        ),
        Setting(
            "command", ListOf(Text(4000), least=1, most=100), "command",
            "The program and its arguments, without a shell; `{local}`, `{domain}`, "
            "`{address}`, `{reverse_path}` and `{id}` are replaced.",
            '["/usr/local/bin/take-mail", "{address}"]', types=("pipe",),
        ),
        Setting(
            "timeout", Duration(1, DAY), "timeout_s",
            "How long the program may take.", '"5m"', types=("pipe",),
        ),
    ),
    named=True,
    later={"source": "use the sources of a channel", "rate": "use a channel's concurrency"},
)  # fmt: skip

CHANNEL = Table(
    "channel",
    "A policy for some destinations. The first channel in the file with a rule that matches "
    "is taken; `channel.default` takes everything else, wherever it stands.",
    ChannelPolicy,
    (
        Setting(
            "match", ListOf(MatchRule(), most=10_000), "match",
            "Rules: a domain, `.suffix` (the domain and all below), a pattern with `*`, or "
            "`mx:` before one of these to compare MX hosts. Or about the message: `from:` (its "
            "reverse-path: an address, `@domain`, `.suffix`, a pattern or `<>`), `tenant:` or "
            "`tag:`.",
            '["gmail.com", "mx:*.google.com", "tenant:shop"]',
            default="none, and only for `channel.default`",
        ),
        Setting("route", Text(64, "the name of a route"), "route", "The route.", '"out"'),
        Setting(
            "sources", ListOf(Text(64, "the name of a source"), most=100), "sources",
            "The sources its mail goes out from, by their weight. One that is paused, or at a "
            "limit, leaves its mail to the others.",
            '["a", "b"]', default="none: the operating system chooses the address",
        ),
        Setting(
            "concurrency", Integer(0, CONCURRENCY_MAX), "concurrency",
            f"How many {_ATTEMPTS}, and connections, the channel may have, over all queues; "
            "0 holds its mail.", "20",
        ),
        Setting(
            "per_site.concurrency", Integer(0, CONCURRENCY_MAX), "site_concurrency",
            f"How many {_ATTEMPTS}, and connections, each site of the channel may have, over all "
            "queues; 0 holds its mail.", "10",
        ),
        Setting(
            "rate", Rated(), "rate",
            "How many messages the channel may send in any interval of that length, over all "
            "queues and restarts. A hundredth of them may go at once, unless a burst is given.",
            '"1000/1m burst 50"',
        ),
        Setting(
            "per_site.rate", Rated(), "site_rate",
            "The same for each site of the channel.", '"50/1h"',
        ),
        Setting(
            "connect_rate", Rated(), "connect_rate",
            "How many new connections the channel may open in any interval of that length, over "
            "all queues and restarts. One that fails costs nothing.",
            '"20/1m burst 5"',
        ),
        Setting(
            "per_site.connect_rate", Rated(), "site_connect_rate",
            "The same for each site of the channel.", '"10/1m"',
        ),
        Setting(
            "retry", Retry(), "retry",
            "When a deferred recipient is tried again, and until when: `exponential`, "
            "`quadratic` or `list`.", '"exponential 5m x2 max 4h for 5d"',
        ),
        Setting(
            "recipients_max", Integer(1, 10_000), "recipients_max",
            "Recipients of one transaction.", "50",
        ),
        Setting(
            "transactions_max", Integer(1, 100_000), "transactions_max",
            "Transactions on one connection.", "100",
        ),
        Setting(
            "delay_warning", Duration(1, 30 * DAY, never=True), "delay_warning_s",
            "The age at which a delay DSN is sent.", '"4h"',
        ),
        Setting(
            "window", ListOf(Hours(), most=50), "window",
            "The hours in which mail is tried; outside them it waits, and no attempt is counted. "
            "Days are those on which the hours begin.",
            '["Mon-Fri 08:00-20:00", "Sat 22:00-04:00"]', default="always",
        ),
        Setting(
            "time_zone", TimeZone(), "time_zone",
            "The time zone of `window`.", '"Europe/Berlin"',
        ),
    ),
    named=True,
    later={
        "group": "use the rules of a group",
    },
)  # fmt: skip

LIMITS = Table(
    "limits",
    "What the whole server may do, all queues together.",
    LimitsPolicy,
    (
        Setting(
            "concurrency", Bound(0, 1_000_000), "concurrency",
            f"How many {_ATTEMPTS}, and connections, there may be in all; 0 holds all mail.",
            "2000",
        ),
        Setting(
            "rate", Rated(), "rate",
            "How many messages may be sent in any interval of that length.", '"100000/1h"',
        ),
        Setting(
            "adaptive", Boolean(), "adaptive",
            "Whether a site that refuses connections beside others that work gets fewer than its "
            "limit, until it takes more (`docs/design/adaptive.md`).", "false",
        ),
    ),
)  # fmt: skip

DELIVERY = Table(
    "delivery",
    "The engine of each worker.",
    EnginePolicy,
    (
        Setting(
            "concurrency", Integer(0, 20_000), "concurrency",
            f"How many {_ATTEMPTS} a queue may have; 0 holds all mail.", "500",
        ),
        Setting(
            "active_max", Integer(100, 1_000_000), "active_max",
            "Recipients held in memory, which bounds a worker's memory; the rest waits on disk.",
            "20000",
        ),
        Setting(
            "lane_active_max", Integer(10, 1_000_000), "lane_active_max",
            "Recipients of one site held in memory, so that one site cannot fill it.", "2000",
        ),
        Setting(
            "content_memory", Size(0, 64 * GIB), "content_memory_octets",
            "Fresh content kept in memory until its first attempt.", '"64 MiB"',
        ),
        Setting(
            "rescan", Duration(1, HOUR), "rescan_s",
            "How often the store is walked from the start; less often where that reads very much.",
            '"1m"',
        ),
        Setting(
            "site_rest", Duration(1, DAY), "site_rest_s",
            "How long a site rests none of whose hosts can be used.", '"1m"',
        ),
        Setting(
            "priority_lead", Duration(1, DAY, never=True), "priority_lead_s",
            "How much earlier than it is mail counts as due, among the mail of its site, for each "
            "level of the priority it asks for (MT-PRIORITY). So nothing waits behind mail that "
            "comes later than that.", '"15m"',
        ),
        Setting(
            "stop_deadline", Duration(0, HOUR), "stop_deadline_s",
            "How long attempts in flight may take to finish at a stop.", '"30s"',
        ),
        Setting(
            "hang_deadline", Duration(2, DAY), "hang_deadline_s",
            "A worker that gives no sign of life for so long, while other queues wait for "
            "connections that it holds, is ended and started anew.", '"1m"',
        ),
        Setting(
            "postmaster", Text(320, "an address: local-part@domain", r"[^\s<>@]+@[^\s<>@]+"),
            "postmaster",
            "The From address of DSNs.", '"postmaster@example.org"',
            default="`MAILER-DAEMON` at the host name",
        ),
    ),
)  # fmt: skip

RESOLVER = Table(
    "resolver",
    "How names are looked up.",
    ResolverPolicy,
    (
        Setting(
            "servers", ListOf(Address(53, literal=True), most=16), "servers",
            "Name servers.", '["127.0.0.1:53"]', default="those of the system",
        ),
        Setting(
            "timeout", Duration(0.1, 300), "timeout_s",
            "How long one question may take in all.", '"10s"',
        ),
        Setting(
            "cache_max", Integer(0, 10_000_000), "cache_max",
            "Answers kept in memory, for each worker.", "100000",
        ),
    ),
)  # fmt: skip
