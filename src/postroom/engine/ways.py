"""What the rules in force say of queued mail: its channel and site, its tenant and its class.

None of it is stored: rules change, and mail goes by those in force when it is next tried. A
domain belongs to the channel of its route where that is known; where only its MX hosts can
tell, they are looked up, LOOKUPS_MAX at a time and within LOOKUPS_S; where they do not answer
its name alone decides, and the site is not known.

Called by: engine.seeking, control.offline, supervisor.mail_service.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from postroom.channels.match import ChannelTable
from postroom.core.errors import ReplyError
from postroom.core.message import StoredMessage
from postroom.engine.kinds import Kinds, Rules
from postroom.engine.parts import Routes
from postroom.groups.classes import ClassTable
from postroom.groups.tenants import TenantTable

LOOKUPS_MAX = 200
LOOKUPS_S = 5.0
SLICE = 500
"""Domains that the rules are asked about before others have their turn: some milliseconds."""

Way = tuple[str, str]
"""Names of the channel and of the site; the site is "" where it is not known."""


class Ways:
    """The rules in force of one queue, asked about queued mail."""

    def __init__(
        self, kinds: Kinds, channels: ChannelTable, classes: ClassTable, router: Routes | None
    ) -> None:
        """`router` is None where no server is: then sites are not known."""
        self._kinds = kinds
        self._channels = channels
        self._router = router
        self.classes = classes
        """The classes in force; whoever reads the configuration puts others in their place."""

    @property
    def knows_sites(self) -> bool:
        """False where no site can be known."""
        return self._router is not None

    def kind_and_tenant(self, message: StoredMessage) -> tuple[int, str]:
        """Return the kind of a message and its tenant, "" where it has none."""
        return self._kinds.sort(message.envelope, message.provenance)

    def class_of(self, message: StoredMessage) -> str:
        """Return the name of the class of a message."""
        envelope, provenance = message.envelope, message.provenance
        priority = 0 if envelope.terms is None else envelope.terms.priority
        why = self.classes.reason(
            envelope.reverse_path, provenance.listener, provenance.user, priority
        )
        return why.group.name

    def depends(self, domain: str) -> bool:
        """Say whether mail for a domain may go different ways."""
        return self._kinds.depends(domain)

    async def find(
        self, asked: Iterable[tuple[str, int]], *, sites: bool, looks_up: bool = True
    ) -> dict[tuple[str, int], Way]:
        """Return the ways of mail for domains, by kind; `sites`: look for sites too.

        Without `looks_up` those are left out that only MX hosts can tell.
        """
        found: dict[tuple[str, int], Way] = {}
        unknown: list[tuple[str, int]] = []
        for number, (domain, kind) in enumerate(asked, 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            destination = self._router.lookup(domain, kind) if self._router is not None else None
            if destination is not None:
                found[domain, kind] = (destination.channel.name, destination.site)
            elif self._router is not None and (sites or self._rules.decide(domain, kind) is None):
                unknown.append((domain, kind))
            else:
                found[domain, kind] = (self._by_name(domain, kind), "")
        if unknown and looks_up:
            await self._look_up(unknown, found)
            for domain, kind in unknown:
                if (domain, kind) not in found:
                    found[domain, kind] = (self._by_name(domain, kind), "")
        return found

    async def channels_of(self, messages: Sequence[StoredMessage]) -> list[tuple[str, ...]]:
        """Return the channel of each recipient of each message, "" of those that are final.

        Nothing is looked up for it: where no route is known, the name of the domain decides.
        """
        channels: dict[tuple[str, int], str] = {}
        found = []
        for message in messages:
            kind, _ = self.kind_and_tenant(message)
            names = []
            for recipient, status in zip(
                message.envelope.recipients, message.statuses, strict=True
            ):
                name = ""
                if not status.state.is_final:
                    key = (recipient.domain.lower(), kind)
                    if key not in channels:
                        channels[key] = self._known(*key)
                    name = channels[key]
                names.append(name)
            found.append(tuple(names))
            # A message may have a thousand recipients: others have their turn in between.
            await asyncio.sleep(0)
        return found

    def _known(self, domain: str, kind: int) -> str:
        destination = self._router.lookup(domain, kind) if self._router is not None else None
        return destination.channel.name if destination is not None else self._by_name(domain, kind)

    @property
    def _rules(self) -> ChannelTable:
        return self._router.channels if self._router is not None else self._channels

    def _by_name(self, domain: str, kind: int) -> str:
        if self._router is not None:
            return self._router.channel_of(domain, kind).name
        return self._channels.match(domain, kind=kind).channel.name

    async def _look_up(
        self, asked: list[tuple[str, int]], found: dict[tuple[str, int], Way]
    ) -> None:
        router = self._router
        assert router is not None

        async def one(domain: str, kind: int) -> None:
            try:
                destination = await router.resolve(domain, kind)
            except (ReplyError, ValueError):
                return  # no route, or a policy file that errs: the log has it when mail is tried
            found[domain, kind] = (destination.channel.name, destination.site)

        try:
            async with asyncio.timeout(LOOKUPS_S):
                for start in range(0, len(asked), LOOKUPS_MAX):
                    async with asyncio.TaskGroup() as lookups:
                        for domain, kind in asked[start : start + LOOKUPS_MAX]:
                            lookups.create_task(one(domain, kind))
        except TimeoutError:
            pass  # what is not known by now counts by its name


def ways_without_server(channels: ChannelTable, tenants: TenantTable, classes: ClassTable) -> Ways:
    """Return what the rules say where no server runs, and no name is looked up."""
    return Ways(Kinds(Rules(channels), tenants), channels, classes, None)
