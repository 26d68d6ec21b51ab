"""What an operator asks for: which messages of a queue a listing or a verb is about.

A query has three parts, asked in this order because each costs more than the one before:
what the store knows (a Selection), what the rules in force say of a message (its channel, site,
tenant and class, which are stored nowhere), and what its header has in it.

Values only; engine.seeking finds what they are about.
Called by: engine.seeking, control.filters, control.commands.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.core.conditions import ANYTHING, Names
from postroom.spool.store import Selection


class HeaderTest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field of this name is there whose value is one of `values`; with `is_not` there is none.

    Values compare without case, folded lines made one, space around them taken away.
    """

    name: str
    values: tuple[str, ...] = ("*",)
    is_not: bool = False


class Query(msgspec.Struct, frozen=True, omit_defaults=True):
    """All conditions must hold; see Selection about recipients.

    `channel` and `site` are those of a waiting recipient by the rules in force, and must hold
    for the same recipient as the conditions of the selection; `tenant` and `mail_class` are the
    message's, "" where it has no tenant. A site that is not known is "".
    """

    selection: Selection = Selection()
    channel: Names = ANYTHING
    site: Names = ANYTHING
    tenant: Names = ANYTHING
    mail_class: Names = ANYTHING
    headers: tuple[HeaderTest, ...] = ()

    @property
    def is_stored(self) -> bool:
        """True where a store alone can answer it."""
        return not (self.channel or self.site or self.tenant or self.mail_class or self.headers)
