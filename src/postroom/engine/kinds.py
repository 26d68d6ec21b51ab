"""The kind of a message: which of the rules about messages is the first that it matches.

Joins what a message brings (its envelope and where it came from), the tenants and the rules of
channels in force. It is asked once for a message that is made active: the way of its mail is
then found by domain and kind. Where no rule is about messages the answer is 0 at once.

Called by: engine.admission, engine.bouncer, engine.why, engine.channel_counts.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from postroom.channels.match import ChannelTable
from postroom.channels.message_rules import NULL, Traits
from postroom.core.message import Envelope, Provenance
from postroom.groups.tenants import TenantPolicy, TenantTable
from postroom.queueing.tenants import TenantShare

UNNAMED = "?"
"""A reverse-path that no rule names, where none is given."""


class Ruled(Protocol):
    """Who has the rules in force: routing.router.Router."""

    @property
    def channels(self) -> ChannelTable:
        """The rules."""
        ...


class Rules:
    """Rules that never change, for who has no router; satisfies Ruled."""

    __slots__ = ("channels",)

    def __init__(self, channels: ChannelTable) -> None:
        self.channels = channels


class Kinds:
    """Says the kind and the tenant of messages by the rules in force."""

    __slots__ = ("_rules", "tenants")

    def __init__(self, rules: Ruled, tenants: TenantTable | None = None) -> None:
        self._rules = rules
        self.tenants = tenants or TenantTable()
        """Whose mail is whose."""

    def tenant_of(self, envelope: Envelope, provenance: Provenance) -> str:
        """Return the tenant that a message belongs to, "" where it is none."""
        if self.tenants.is_empty:
            return ""
        return self.tenants.name_of(envelope.reverse_path, provenance.listener, provenance.user)

    def of(self, envelope: Envelope, provenance: Provenance) -> int:
        """Return the kind of a message."""
        channels = self._rules.channels
        if not channels.has_kinds:
            return 0
        tenant = self.tenant_of(envelope, provenance)
        return channels.kind(Traits(envelope.reverse_path, tenant, provenance.tag))

    def asked(
        self, sender: str, listener: str = "", user: str = "", tenant: str = "", tag: str = ""
    ) -> tuple[int, str]:
        """Return kind and tenant of a message that somebody describes; "<>" is a null sender.

        A `sender` of "" is one that no rule names; a `tenant` of "" follows from the others.
        """
        path = path_of(sender)
        tenant = tenant or self.tenants.name_of(path, listener, user)
        return self._rules.channels.kind(Traits(path, tenant, tag.lower())), tenant

    def sort(self, envelope: Envelope, provenance: Provenance) -> tuple[int, str]:
        """Return kind and tenant of a message."""
        channels = self._rules.channels
        tenant = self.tenant_of(envelope, provenance)
        if not channels.has_kinds:
            return 0, tenant
        return channels.kind(Traits(envelope.reverse_path, tenant, provenance.tag)), tenant

    @property
    def tell_apart(self) -> bool:
        """True where mail of one domain may be of several lanes, or of parts of one."""
        return self._rules.channels.has_kinds or not self.tenants.is_empty

    def shares(self, domain: str) -> bool:
        """Say whether mail for a domain may be of several lanes, or of parts of one."""
        return not self.tenants.is_empty or self.depends(domain)

    def depends(self, domain: str) -> bool:
        """Say whether mail for a domain may go different ways by its kind."""
        channels = self._rules.channels
        return channels.has_kinds and channels.depends_on_kind(domain)


def path_of(sender: str) -> str:
    """Return the reverse-path that somebody describes: "<>" is the null one, "" none at all."""
    return "" if sender == NULL else sender or UNNAMED


def shares_of(tenants: Iterable[TenantPolicy]) -> dict[str, TenantShare]:
    """Return weights and limits of tenants, as the scheduler keeps to them."""
    return {one.name: TenantShare(one.weight, one.limit) for one in tenants}
