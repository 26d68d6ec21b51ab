"""Questions to the DNS, one at a time for each caller.

Owns the stub resolver, made at the first question. Stands on dnspython, which speaks the
protocol and repeats a truncated answer over TCP.

Called by: routing.dns, which loads it with the first question.  Raises: RoutingFailure where the
servers do not say.
RFCs: 2308 (negative answers).
"""

from __future__ import annotations

import ipaddress

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from postroom.routing import answers
from postroom.routing.policy import ResolverPolicy

CNAMES_MAX = 8
TRY_TIMEOUT_MAX_S = 3.0
"""One server is given this long before the next one is asked, within the whole time."""
# Answers of this size pass every link without fragments; longer ones come over TCP.
_UDP_OCTETS = 1232
_DNS_PORT = 53


class Questions:
    """Asks the name servers that a policy names, or else those of the system."""

    __slots__ = ("_policy", "_stub")

    def __init__(self, policy: ResolverPolicy) -> None:
        self._policy = policy
        self._stub: dns.asyncresolver.Resolver | None = None

    async def ask(self, name: str, kind: str) -> tuple[tuple[object, ...] | None, float]:
        """Ask, following aliases whose end the answer does not hold.

        Returns the records and how long they may be kept; None where there is no such name.
        """
        stub = self._configured(name)
        asked = dns.name.from_text(name)
        for _ in range(CNAMES_MAX):
            try:
                answer = await stub.resolve(asked, kind, raise_on_no_answer=False, search=False)
            except dns.resolver.NXDOMAIN as error:
                return None, _negative_ttl_s(error)
            except dns.resolver.NoNameservers:
                # SERVFAIL, REFUSED, nonsense: every server was asked, none could say.
                raise answers.dns_silent(name, "the name servers cannot answer") from None
            except dns.exception.Timeout:
                raise answers.dns_silent(name, "the name servers do not answer") from None
            except (dns.exception.DNSException, OSError, EOFError) as error:
                raise answers.dns_silent(name, type(error).__name__) from None
            ttl_s = float(answer.chaining_result.minimum_ttl)
            if answer.rrset is not None:
                return tuple(_value(record) for record in answer.rrset), ttl_s
            if answer.canonical_name == asked:
                return (), ttl_s
            asked = answer.canonical_name
        raise answers.no_address(name)

    def _configured(self, name: str) -> dns.asyncresolver.Resolver:
        """Return the stub resolver, made at the first question."""
        if self._stub is not None:
            return self._stub
        try:
            stub = dns.asyncresolver.Resolver(configure=not self._policy.servers)
        except (dns.resolver.NoResolverConfiguration, OSError):
            raise answers.dns_silent(name, "no name server is configured") from None
        if self._policy.servers:
            stub.nameservers = [_server(text) for text in self._policy.servers]
        stub.lifetime = self._policy.timeout_s
        stub.timeout = min(TRY_TIMEOUT_MAX_S, self._policy.timeout_s)
        stub.use_edns(0, 0, _UDP_OCTETS)
        self._stub = stub
        return stub


def _value(record: object) -> object:
    """Return what is kept of a record: (preference, host) or the address."""
    if hasattr(record, "exchange") and hasattr(record, "preference"):
        return (int(record.preference), record.exchange.to_text())
    return str(record)


def _negative_ttl_s(error: dns.resolver.NXDOMAIN) -> float:
    """Return how long the name may be taken not to exist (RFC 2308 §5)."""
    ttls = []
    responses: dict[dns.name.Name, dns.message.Message] = error.kwargs.get("responses", {})
    for message in responses.values():
        if isinstance(message, dns.message.QueryMessage):
            try:
                ttls.append(float(message.resolve_chaining().minimum_ttl))
            except dns.exception.DNSException:
                continue
    return min(ttls, default=0.0)


def _server(text: str) -> dns.nameserver.Nameserver:
    """Return the name server in "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]:53"."""
    host, port = text, _DNS_PORT
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = int(rest[1:]) if rest.startswith(":") else _DNS_PORT
    elif text.count(":") == 1:
        host, _, digits = text.partition(":")
        port = int(digits)
    return dns.nameserver.Do53Nameserver(str(ipaddress.ip_address(host)), port)
