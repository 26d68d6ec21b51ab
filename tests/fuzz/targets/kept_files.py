"""Files that a server keeps and reads at its start: manifest, maildrop, users, flights and others.

Input: which of them, then the octets of the file.

1. It is read, or the error of its reader names the file; never another exception.
2. What was read is written to what is read the same; a damaged maildrop file is told as Damaged
   and is no message.
"""

from __future__ import annotations

import hashlib
import tempfile
from functools import cache
from pathlib import Path

from postroom.config.model import Config, SpoolPolicy
from postroom.core.clock import ManualClock
from postroom.core.errors import ConfigurationError
from postroom.core.limits import Rate
from postroom.ingress.users import load_users
from postroom.observe.events import EventList, RatesNotKept, SettingIgnored
from postroom.observe.flights import Flights
from postroom.observe.stream.cursor import parse_cursor
from postroom.shaping.rates import Meter
from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.manifest import read_manifest, write_manifest
from postroom.spool.embedded.parts import read_record
from postroom.spool.errors import QueueUnusable
from postroom.spool.maildrop import Damaged, read_file
from postroom.supervisor.channel_overrides import FILE as OVERRIDES
from postroom.supervisor.channel_overrides import ChannelOverrides
from postroom.supervisor.lending import Lending, kept_uses
from postroom.supervisor.site_lessons import FILE as LESSONS
from postroom.supervisor.site_lessons import SiteLessons
from postroom.supervisor.source_pauses import FILE as PAUSES
from postroom.supervisor.source_pauses import SourcePauses
from postroom.webhooks.kept import DIRECTORY as CONSUMERS
from postroom.webhooks.kept import KeptFiles
from tests.fuzz.draw import Draw
from tests.fuzz.target import IN_MEMORY, Target, spelt

_ID = "0123456789abcdef"
NOW = 1e9


@cache
def _place() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-kept-", dir=IN_MEMORY)


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    which = draw.number(8)
    readers = (
        _manifest, _maildrop, _users, _flights, _layout, _set_at_run_time, _webhook, _rates,
        _lessons,
    )  # fmt: skip
    readers[which](draw.rest(), Path(_place().name))


def _manifest(octets: bytes, place: Path) -> None:
    (place / "manifest.json").write_bytes(octets)
    try:
        found = read_manifest(place)
    except QueueUnusable as error:
        assert "manifest.json" in str(error)
        return
    assert found is not None
    write_manifest(place, found)
    assert read_manifest(place) == found


def _maildrop(octets: bytes, place: Path) -> None:
    path = place / _ID
    path.write_bytes(octets)
    try:
        head, content = read_file(path)
    except Damaged as error:
        assert _ID in str(error)
        return
    assert octets.endswith(content) and head.size_octets == len(content)


def _users(octets: bytes, place: Path) -> None:
    path = place / "users"
    path.write_bytes(octets)
    path.chmod(0o600)
    try:
        load_users(path)
    except ConfigurationError as error:
        assert str(path) in str(error)


def _flights(octets: bytes, place: Path) -> None:
    left = Flights(bytearray(octets)).left
    assert len(left) <= len(octets)


def _layout(octets: bytes, place: Path) -> None:
    (place / "layout.json").write_bytes(octets)
    try:
        read_record(RealDisk(), place)
    except QueueUnusable as error:
        assert str(place) in str(error)


def _set_at_run_time(octets: bytes, place: Path) -> None:
    for kept, name in ((ChannelOverrides(place), OVERRIDES), (SourcePauses(place), PAUSES)):
        (place / name).write_bytes(octets)
        try:
            kept.read()
        except QueueUnusable as error:
            assert name in str(error)


def _webhook(octets: bytes, place: Path) -> None:
    (place / CONSUMERS).mkdir(exist_ok=True)
    kept = KeptFiles(str(place))
    (place / CONSUMERS / "one.json").write_bytes(octets)
    found = kept.read("one")
    if found is not None:
        kept.write("one", found)
        assert kept.read("one") == found
    kept.order_replay("one", "")
    kept._order("one").write_bytes(octets)
    assert kept.replay("one") == "" or parse_cursor(kept.replay("one"))


def _rates(octets: bytes, place: Path) -> None:
    """What was used of rates: kept anew at once, and a limit is never closed for ever."""
    (place / "rates").write_bytes(octets)
    events, clock = EventList(), ManualClock(NOW)
    config = Config(hostname="mail.example", spool=SpoolPolicy(base=str(place)))
    lending = Lending(config, clock, events)
    try:
        assert all(isinstance(one, RatesNotKept) and one.reason for one in events.events)
        for arrival_at in lending.governor.arrivals(NOW).values():
            assert Meter(Rate(5, 60.0), arrival_at).next_at(NOW) <= NOW + 120
    finally:
        lending.close()
    for day, used in kept_uses(str(place)).values():
        assert isinstance(day, int) and isinstance(used, int)


def _lessons(octets: bytes, place: Path) -> None:
    (place / LESSONS).write_bytes(octets)
    events = EventList()
    known = SiteLessons(str(place), ManualClock(NOW), events, lambda message: None)
    if events.events:
        [told] = events.events
        assert isinstance(told, SettingIgnored) and LESSONS in told.reason
    assert all(one.until > NOW for one in known.in_force())


_MAILDROP = (
    b'{"id":"0123456789abcdef","user":"ann","envelope":{"reverse_path":"a@b","recipients":'
    b'[{"address":"c@d"}]},"size_octets":3,"sha256":"%s"}\nx\r\n'
    % hashlib.sha256(b"x\r\n").hexdigest().encode()
)
_QUEUE = b'{"number":1,"directory":"/q","identity":"x","state":"enabled","added":true}'
TARGET = Target(
    "kept-files",
    try_one,
    [
        "postroom.spool.embedded.manifest",
        "postroom.spool.embedded.parts",
        "postroom.spool.maildrop",
        "postroom.ingress.users",
        "postroom.observe.flights",
        "postroom.supervisor.kept_file",
        "postroom.supervisor.channel_overrides",
        "postroom.supervisor.source_pauses",
        "postroom.supervisor.lending",
        "postroom.supervisor.site_lessons",
    ],
    seeds=[
        b'\x00{"generation":3,"queues":[' + _QUEUE + b'],"retired":["y"]}',
        b"\x01" + _MAILDROP,
        b"\x02# users\nanna:$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + b"A" * 43,
        b"\x030123456789abcdef\x00\x00\x00\x00\x01\x00\x00\x00" + b"\x00" * 7 + b"\x02",
        b'\x04{"qf":"/x","df":"","xf":"","leaving":["/y"]}',
        b'\x05{"version":1,"channels":{"a":{"rate":"1/s"}}}',
        b'\x05{"version":1,"pauses":[]}',
        b'\x07{"is_complete":true,"arrivals":[["site","c","s",1000000100.5]],"uses":[]}',
        b'\x07{"is_complete":false,"arrivals":[],"uses":[["source","a","s",20000,5]]}',
        b'\x08{"version":1,"lessons":[{"site":"s","action":"slow","since":1,"until":2e9,'
        b'"rule":"r","reply":"421 x","halvings":1}]}',
        b'\x06{"cursor":"e1-kqCQ"}',
        b"\x06e1-kqCQ",
    ],
    words=spelt(
        r"[[[[ | \xff | null | 1e999 | \\ud800 | {\"a\": | $scrypt$ln=16,r=8,p=1$ | : | \n"
        r" | 99999999999999999999"
    ),
)
