"""Settings of the event stream.

Called by: config.settings, config.build, config.checks.  Raises: nothing.
"""

from __future__ import annotations

from pathlib import Path

from postroom.config.given import Gathered, Name
from postroom.config.kinds import FilePath, shown
from postroom.config.measures import Duration, Size
from postroom.config.model import Config
from postroom.config.setting import Setting, Table
from postroom.observe.stream.policy import NOWHERE, EventsPolicy

DAY_S = 86400.0
MIB, TIB = 1 << 20, 1 << 40

EVENTS = Table(
    "events",
    "The event stream: every event, to be read on from any point ([Events](how-to/events.md)).",
    EventsPolicy,
    (
        Setting(
            "directory", FilePath(instead=(NOWHERE,)), "directory",
            "Where it lies; not in the spool, so that the two do not take each other's room. It "
            "is made with mode 0700 if it is missing. `none`: no stream is kept.",
            '"/var/lib/postroom/events"', default="`spool.base` with `-events` behind it",
            restart=True,
        ),
        Setting(
            "keep", Duration(3600, 3650 * DAY_S), "keep_s",
            "How long events are kept.", '"30d"',
        ),
        Setting(
            "size", Size(16 * MIB, TIB), "size_octets",
            "How large the stream may become; the oldest events go first. What is written within "
            "a second may come on top of that.", '"4 GiB"',
        ),
    ),
)  # fmt: skip


def check_events(config: Config, gathered: Gathered) -> None:
    """Note a stream in the spool: where one fills its disk, the other is to go on."""
    base, directory = Path(config.spool.base), Path(config.events.directory)
    if config.events.is_kept and directory.is_relative_to(base):
        name = Name("events", "", "directory")
        text = f"{shown(config.events.directory)} lies in the spool; expected a directory beside it"
        gathered.mistakes.add(gathered.where(name), name, text)


def default_directory(base: str) -> str:
    """Return where the stream of a spool lies where nobody says: beside it."""
    return f"{base.rstrip('/')}-events"
