"""What a reload may change in a running server, and what waits for a restart.

Sockets, spool directories, our name and the resolver are made once, at start. A reload
keeps them as they are, takes everything else from the new configuration, and names what
it left out.
Pure.  Called by: supervisor.master.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.config.model import Config
from postroom.ingress.policy import ListenPolicy

FIXED = ("hostname", "server", "resolver", "log", "console")
"""Tables and settings that are given to the parts of a worker when they are made."""


def effective(running: Config, wanted: Config) -> tuple[Config, tuple[str, ...]]:
    """Return the configuration to put in force, and the settings that need a restart."""
    # Only the master looks at these, each time it decides.
    spool = msgspec.structs.replace(running.spool, max=wanted.spool.max, load=wanted.spool.load)
    pending = [
        f"spool.{field}"
        for field in spool.__struct_fields__
        if getattr(spool, field) != getattr(wanted.spool, field)
    ]
    known = {group.name: group.sync for group in running.groups}
    pending += [
        f"group.{group.name}.sync"
        for group in wanted.groups
        if known.get(group.name, group.sync) != group.sync
    ]
    wanted_by_name = {listen.name: listen for listen in wanted.listen}
    listeners: list[ListenPolicy] = []
    for old in running.listen:
        new = wanted_by_name.pop(old.name, None)
        if new is None:
            pending.append(f"listen.{old.name}")
            listeners.append(old)
            continue
        for field in ("address", "tls"):
            if getattr(old, field) != getattr(new, field):
                pending.append(f"listen.{old.name}.{field}")
        listeners.append(msgspec.structs.replace(new, address=old.address, tls=old.tls))
    pending += [f"listen.{name}" for name in wanted_by_name]
    # Writers have their directory for as long as they live; the bounds are looked at each time.
    events = msgspec.structs.replace(wanted.events, directory=running.events.directory)
    if events != wanted.events:
        pending.append("events.directory")
    pending += [name for name in FIXED if getattr(running, name) != getattr(wanted, name)]
    config = msgspec.structs.replace(
        wanted,
        spool=spool,
        listen=tuple(listeners),
        hostname=running.hostname,
        server=running.server,
        resolver=running.resolver,
        log=running.log,
        events=events,
        console=running.console,
        generation=running.generation + 1,
    )
    return config, tuple(pending)
