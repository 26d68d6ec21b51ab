"""Tenants: whose mail a message is, on a server that sends for several.

A tenant is found from what a message brings: its authenticated user, its reverse-path, its
listener. The first tenant in the order of the configuration wins; what no rule names belongs to
the tenant "default" where there is one, else to none.

Pure.  Called by: engine.kinds, cli.explain, config.  Raises: ValueError for text that is no rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from postroom.core.limits import Limit, Rate
from postroom.groups.policy import GroupPolicy
from postroom.groups.table import GroupTable, Reason

DEFAULT = "default"
"""The name of the tenant of all other mail."""


class TenantPolicy(msgspec.Struct, frozen=True):
    """One tenant.

    `users` are authenticated users, `senders` reverse-paths ("a@example.org", or a rule for
    its domain), `listeners` where the mail comes in. `concurrency` and `rate` are limits over
    all queues; `weight` is its part of a site's slots, beside other tenants that have mail for
    it. `origin` is "file:line".
    """

    name: str
    users: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    concurrency: int | None = None
    rate: Rate | None = None
    weight: int = 1
    origin: str = ""

    @property
    def limit(self) -> Limit:
        """Its limit over all queues."""
        return Limit(self.concurrency, self.rate)


class TenantTable:
    """The tenants of one configuration, ready to be asked."""

    def __init__(self, tenants: Sequence[TenantPolicy] = ()) -> None:
        self.is_empty = not tenants
        """True where no mail has a tenant."""
        others = next((one for one in tenants if one.name == DEFAULT), None)
        self._others = others.name if others is not None else ""
        # The same kinds of rules, but for recipients: a message has one tenant as a whole.
        self._table = GroupTable(
            [
                *(
                    GroupPolicy(
                        one.name, senders=one.senders, listeners=one.listeners, users=one.users,
                        origin=one.origin,
                    )
                    for one in tenants
                    if one.name != DEFAULT
                ),
                GroupPolicy(self._others, origin=others.origin if others is not None else ""),
            ]
        )  # fmt: skip

    def name_of(self, reverse_path: str, listener: str, user: str) -> str:
        """Return the tenant that a message belongs to, "" where it is none."""
        if self.is_empty:
            return ""
        return self._table.reason("", reverse_path, listener, user).group.name

    def reason(self, reverse_path: str, listener: str, user: str) -> Reason | None:
        """Say which tenant mail belongs to, and by which rule; None where it is none."""
        found = self._table.reason("", reverse_path, listener, user)
        return msgspec.structs.replace(found, noun="tenant") if found.group.name else None
