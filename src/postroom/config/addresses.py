"""The kinds of value that name hosts and networks.

Written forms: "127.0.0.1:25", "[::1]:25", "mta.example:587", "10.0.0.0/8". Values come out
in one spelling (IPv6 compressed, networks with their prefix, names in lower case), so that
two spellings of one address are seen to be the same.

Called by: config.settings, config.checks.  Raises: Misread.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from postroom.config.kinds import Kind, Misread, Mistake, Place, did_you_mean, shown
from postroom.config.measures import Integer
from postroom.routing.policy import RelayHost

_HOST_PORT = re.compile(r"(?:\[(?P<literal>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>\d{1,5}))?\Z")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\Z")
# RFC 1035 §2.3.4: a label has 63 octets at most. Underscores are no host name, but exist.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\Z")

IPV4_PREFIX_LEAST = 8
"""The largest network that can belong to one operator; more would be an open relay."""
IPV6_PREFIX_LEAST = 16
# Unique local and link-local: nobody outside can have such an address.
_IPV6_PRIVATE = (ipaddress.IPv6Network("fc00::/7"), ipaddress.IPv6Network("fe80::/10"))
_IPV4_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def is_domain(text: str) -> bool:
    """Say whether a text is a domain name in A-labels, lower case, without a last dot."""
    return len(text) <= 253 and all(map(_LABEL.match, text.split(".")))


def as_domain(text: str) -> str | None:
    """Return a domain name in A-labels and lower case, or None where it is none."""
    name = text.lower()
    if not name.isascii():
        # The same A-label as mail is routed by (IDNA 2008): by IDNA 2003 "straße.example" is
        # another name, which may be somebody else's. Imported late: it is seldom needed.
        from postroom.routing.destination import RoutingFailure
        from postroom.routing.names import normalise

        try:
            name = normalise(name)
        except RoutingFailure:
            return None
    return name if is_domain(name) else None


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, by its address or as "localhost"."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def join(host: str, port: int) -> str:
    """Return "host:port", an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(text: str, default_port: int | None) -> tuple[str, int]:
    """Return host and port of "host:port"; raise ValueError saying what is wrong."""
    if _BARE_IPV6.match(text):
        raise ValueError("an IPv6 address needs brackets before its port")
    found = _HOST_PORT.match(text)
    if found is None:
        raise ValueError("it is not of the form host:port")
    if found["literal"] is not None:
        try:
            host = str(ipaddress.IPv6Address(found["literal"]))
        except ValueError:
            raise ValueError("what is in brackets is not an IPv6 address") from None
    else:
        host = _ipv4_or_name(found["host"])
    if found["port"] is None and default_port is None:
        raise ValueError("the port is missing")
    port = int(found["port"]) if found["port"] is not None else default_port or 0
    if port > 65535:
        raise ValueError("the port is above 65535")
    return host, port


def _ipv4_or_name(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        name = as_domain(text)
    # A name whose last label is a number is a mistyped address.
    if name is None or name.rpartition(".")[2].isdigit():
        raise ValueError("the host is neither a name nor an address")
    return name


@dataclass(frozen=True, slots=True)
class Address:
    """ "host:port". `default_port` may be left out; `literal` wants an address, no name."""

    default_port: int | None = None
    literal: bool = False
    unix: bool = False
    port_least: int = 1

    @property
    def expected(self) -> str:
        """The forms."""
        if self.literal:
            forms = 'an address and a port: "127.0.0.1:25" or "[::1]:25"'
        else:
            forms = 'a host and a port: "mail.example:25", "192.0.2.1:25" or "[::1]:25"'
        return forms + (', or "unix:/path"' if self.unix else "")

    def read(self, given: object, place: Place) -> str:
        """Return "host:port" in its one spelling."""
        if not isinstance(given, str):
            raise Misread(Mistake(f"{shown(given)} is not understood", self.expected))
        if self.unix and given.startswith("unix:/") and given.isprintable():
            return given
        try:
            host, port = split(given, self.default_port)
        except ValueError as error:
            raise Misread(Mistake(f"{shown(given)}: {error}", self.expected)) from None
        if self.literal and ":" not in host and not host.replace(".", "").isdigit():
            hint = f'did you mean "127.0.0.1:{port}"?' if host == "localhost" else ""
            raise Misread(Mistake(f"{shown(given)} has a name", self.expected, hint))
        if port < self.port_least:
            raise Misread(Mistake(f"{shown(given)} has port 0", self.expected))
        return join(host, port)

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: str) -> str:
        """Return the text."""
        return value


@dataclass(frozen=True, slots=True)
class NetworkText:
    """A network in CIDR notation, or one address."""

    expected: str = 'a network or an address: "10.0.0.0/8", "192.0.2.7", "2001:db8::/32"'

    def read(self, given: object, place: Place) -> str:
        """Return the network with its prefix length."""
        if not isinstance(given, str) or not given.isascii():
            raise Misread(Mistake(f"{shown(given)} is not understood", self.expected))
        try:
            return str(ipaddress.ip_network(given))
        except ValueError:
            pass
        try:
            near = ipaddress.ip_network(given, strict=False)
        except ValueError:
            raise Misread(Mistake(f"{shown(given)} is not a network", self.expected)) from None
        wrong = f"{shown(given)} has host bits set"
        raise Misread(Mistake(wrong, self.expected, f'did you mean "{near}"?'))

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: str) -> str:
        """Return the text."""
        return value


def too_wide(networks: tuple[str, ...]) -> str:
    """Return a network that these, taken together, hold and that nobody owns; or ""."""
    narrow: list[ipaddress.IPv4Network] = []
    wide: list[ipaddress.IPv6Network] = []
    for text in networks:
        network = ipaddress.ip_network(text)
        if isinstance(network, ipaddress.IPv4Network):
            narrow.append(network)
        elif network.subnet_of(_IPV4_MAPPED):
            prefix = network.prefixlen - _IPV4_MAPPED.prefixlen
            octets = network.network_address.packed[-4:]
            narrow.append(ipaddress.IPv4Network((octets, prefix)))
        else:
            wide.append(network)
    for four in ipaddress.collapse_addresses(narrow):
        if four.prefixlen < IPV4_PREFIX_LEAST:
            return str(four)
    for six in ipaddress.collapse_addresses(wide):
        if six.prefixlen < IPV6_PREFIX_LEAST and not any(map(six.subnet_of, _IPV6_PRIVATE)):
            return str(six)
    return ""


@dataclass(frozen=True, slots=True)
class Hostname:
    """A name by which this machine is known."""

    expected: str = 'a host name: "mail.example.org"'

    def read(self, given: object, place: Place) -> str:
        """Return the name in A-labels and lower case."""
        name = as_domain(given) if isinstance(given, str) else None
        if name is None:
            raise Misread(Mistake(f"{shown(given)} is not understood", self.expected))
        return name

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: str) -> str:
        """Return the name."""
        return value


@dataclass(frozen=True, slots=True)
class OneRelay:
    """ "host:port" of the only relay of a route."""

    default_port: int = 25

    @property
    def expected(self) -> str:
        """The forms."""
        return Address().expected

    def read(self, given: object, place: Place) -> tuple[RelayHost, ...]:
        """Return a pool of one."""
        host, port = split(Address(self.default_port).read(given, place), self.default_port)
        return (RelayHost(host, port),)

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: tuple[RelayHost, ...]) -> str:
        """Return the first relay."""
        return join(value[0].host, value[0].port)


@dataclass(frozen=True, slots=True)
class PoolMember:
    """{ host = "h:25", weight = 70, tier = 1 }"""

    default_port: int = 25
    expected: str = '{ host = "mta1.example:25", weight = 70, tier = 1 }, or only its host'

    def read(self, given: object, place: Place) -> RelayHost:
        """Return one relay, all mistakes of its table at once."""
        if isinstance(given, str):
            return OneRelay(self.default_port).read(given, place)[0]
        if not isinstance(given, dict):
            raise Misread(Mistake(f"{shown(given)} is not understood", self.expected))
        mistakes: list[Mistake] = []
        values: dict[str, Any] = {}
        kinds: dict[str, Kind] = {
            "host": Address(self.default_port),
            "weight": WEIGHT,
            "tier": TIER,
        }
        for name, value in given.items():
            if name not in kinds:
                hint = did_you_mean(name, kinds)
                mistakes.append(Mistake(f"{shown(name)} is unknown", self.expected, hint, [name]))
                continue
            try:
                values[name] = kinds[name].read(value, place)
            except Misread as misread:
                for mistake in misread.mistakes:
                    mistakes.append(Mistake(f"{name}: {mistake}", at=[name]))
        if "host" not in given:
            mistakes.append(Mistake("host is missing", self.expected))
        if mistakes:
            raise Misread(*mistakes)
        host, port = split(values.pop("host"), self.default_port)
        return RelayHost(host, port, **values)

    def from_text(self, text: str) -> object:
        """Text is a host."""
        return text

    def plain(self, value: RelayHost) -> dict[str, Any]:
        """Return the table."""
        return {
            "host": join(value.host, value.port),
            "weight": value.weight,
            "tier": value.tier,
        }


WEIGHT = Integer(1, 1000)
"""Shares of a pool; 1000 steps are finer than anybody can measure."""
TIER = Integer(1, 9)
