"""Settings of sources, and what must hold of them.

Called by: config.settings, config.build, config.checks, config.loader.  Raises: nothing;
mistakes are gathered.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass

from postroom.channels.overrides import CONCURRENCY_MAX
from postroom.channels.policy import ChannelPolicy
from postroom.config.addresses import Hostname
from postroom.config.given import Gathered, Name
from postroom.config.kinds import ListOf, Misread, Mistake, Place, Text, did_you_mean, shown
from postroom.config.measures import Bound, Duration, Integer
from postroom.config.model import Config
from postroom.config.schedules import Rated
from postroom.config.setting import Setting, Table
from postroom.routing.policy import MxRoute, RelayRoute
from postroom.shaping.source import SourcePolicy

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An IP address of this machine."""

    expected: str = 'an address of this machine: "192.0.2.10" or "2001:db8::10"'

    def read(self, given: object, place: Place) -> str:
        """Return the address in its one spelling."""
        if isinstance(given, str):
            try:
                address = ipaddress.ip_address(given.removeprefix("[").removesuffix("]"))
            except ValueError:
                address = None
            if address is not None and not address.is_unspecified and not address.is_multicast:
                return str(address)
        raise Misread(Mistake(f"{shown(given)} is no address", self.expected))

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: str) -> str:
        """Return the address."""
        return value


SOURCE = Table(
    "source",
    "Addresses of this machine that mail goes out from. A channel says which by `sources`; without "
    "that the operating system chooses.",
    SourcePolicy,
    (
        Setting(
            "address", ListOf(OwnAddress(), least=1, most=100), "address",
            "Its IPv4 and IPv6 addresses; several of a family are used in turn. A host that has "
            "no address of these families is left to the other sources of the channel.",
            '["192.0.2.10", "2001:db8::10"]', default="none; it must be set",
        ),
        Setting(
            "helo", Hostname(), "helo",
            "The name said in EHLO. Hosts expect that it leads to this address, and back.",
            '"out1.example.org"', default="`hostname`",
        ),
        Setting(
            "weight", Integer(1, 1000), "weight",
            "Its share among the sources of a channel.", "10",
        ),
        Setting(
            "concurrency", Bound(0, CONCURRENCY_MAX), "concurrency",
            "How many simultaneous attempts, and connections, there may be from it, over all "
            "queues and channels; 0: none, and what it alone could take is held.", "50",
        ),
        Setting(
            "rate", Rated(), "rate",
            "How many messages it may send in any interval of that length, over all queues and "
            "restarts.", '"10000/1h"',
        ),
        Setting(
            "connect_rate", Rated(), "connect_rate",
            "How many new connections may be opened from it in any interval of that length.",
            '"20/1m"',
        ),
        Setting(
            "pause_when_blocked", Duration(1, 30 * DAY, never=True), "block_pause_s",
            "For how long it is paused towards a site that says that it blocks the address; the "
            "other sources of the channel take its mail.", '"1h"',
        ),
        Setting(
            "warmup", Text(64, "the name of a warm-up plan"), "warmup",
            "The plan by which it is warmed up, of a table `[warmup.NAME]`.", '"new"',
            default="none: it is warm",
        ),
    ),
    named=True,
)  # fmt: skip


def check_sources(config: Config, gathered: Gathered) -> None:
    """Look at sources, and at the channels that use them."""
    known = {source.name: source for source in config.sources}
    used: set[str] = set()
    for channel in config.channels:
        used.update(channel.sources)
        _check_channel(channel, config, known, gathered)
    taken: dict[str, str] = {}
    for source in config.sources:
        for address in source.address:
            if address in taken:
                text = f"{address} belongs to source {taken[address]} already"
                _mistake(gathered, source.name, "address", text + "; expected another address")
            taken.setdefault(address, source.name)
        if source.name not in used:
            text = 'no channel uses this source; give it to one: sources = ["'
            where = Name("source", source.name, "address")
            line = f'{gathered.where(where)}: {where}: {text}{source.name}"]'
            gathered.warnings.append(line)


def check_own_addresses(config: Config, gathered: Gathered) -> None:
    """See that this machine has the addresses of its sources."""
    for source in config.sources:
        for address in source.address:
            error = _cannot_bind(address)
            if error:
                remedy = f"add it (ip address add {address} dev …), or take it out here"
                _mistake(gathered, source.name, "address", f"{address}: {error}; {remedy}")


def _check_channel(
    channel: ChannelPolicy, config: Config, known: dict[str, SourcePolicy], gathered: Gathered
) -> None:
    name = Name("channel", channel.name, "sources")

    def mistake(text: str) -> None:
        gathered.mistakes.add(gathered.where(name), name, text)

    for one in channel.sources:
        if one not in known:
            hint = did_you_mean(one, known)
            text = f"there is no source {shown(one)}; expected one of {', '.join(known) or 'none'}"
            mistake(text + (f"; {hint}" if hint else f"; add a table [source.{one}]"))
    if len(set(channel.sources)) < len(channel.sources):
        mistake("a source is named twice; expected each once: its share is its weight")
    pool = [known[one] for one in channel.sources if one in known]
    route = config.routes.get(channel.route)
    if not pool or route is None:
        return
    if not isinstance(route, MxRoute | RelayRoute):
        text = f"route {route.name} makes no connections to other machines; expected no sources"
        mistake(text)
        return
    for relay in route.relays if isinstance(route, RelayRoute) else ():
        if not _is_literal(relay.host):
            continue
        fitting = [source for source in pool if source.addresses_for(relay.host)]
        if not fitting:
            family = "IPv6" if ":" in relay.host else "IPv4"
            text = f"no source of the channel has an {family} address, which {relay.host} of route "
            mistake(text + f"{route.name} needs; add one to a source, or another relay")


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _mistake(gathered: Gathered, source: str, setting: str, text: str) -> None:
    name = Name("source", source, setting)
    gathered.mistakes.add(gathered.where(name), name, text)


def _cannot_bind(address: str) -> str:
    """Return why no connection can be made from an address, or ""."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        return error.strerror or str(error)
    return ""
