"""`postroom sink`: a test destination on the command line.

Plays a profile until it is interrupted, then prints what it counted. Also
`python -m postroom.sink`.

Called by: cli.main.  Raises: SystemExit with one clear line for wrong options.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import msgspec

from postroom.core.units import parse_duration, parse_size
from postroom.sink.profile import COMMANDS, RULE_FORM, Profile, Site, parse_profile, parse_rule
from postroom.sink.recorder import Recorder
from postroom.sink.server import Sink

DESCRIPTION = f"""\
A destination for tests: accepts mail, counts it, and plays any reply.

{RULE_FORM}. COMMAND is one of {", ".join(COMMANDS)}. Examples:
  postroom sink --rule 'rcpt=*@refused.example reply=550 5.1.1 No such user'
  postroom sink --rule 'rcpt=*@grey.example greylist=30s' --tarpit 100ms
  postroom sink --rule 'content percent=5 drop' --seed 7
  postroom sink --profile sites.toml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    add = parser.add_argument
    add("--listen", action="append", metavar="HOST:PORT", help="default 127.0.0.1:2526; repeatable")
    add(
        "--profile", metavar="FILE", help="TOML with tables [site.NAME]; excludes the options above"
    )
    add("--rule", action="append", default=[], metavar="RULE", help="what to play; repeatable")
    add("--tarpit", default="0s", metavar="TIME", help="wait before every reply")
    add(
        "--messages-max", type=int, default=0, metavar="N", help="end a connection after N messages"
    )
    add("--connections-max", type=int, default=0, metavar="N", help="more at a time get 421")
    add("--size-limit", default="100 MiB", metavar="SIZE", help="largest message taken")
    add("--strict", action="store_true", help="refuse a bare CR or LF in content")
    add("--seed", type=int, default=0, metavar="N", help="for what happens by chance")
    add("--record", default="", metavar="PATH", help="keep messages: JSON lines, or files in PATH/")
    add("--no-content", action="store_true", help="record envelopes only")
    add("--sync", action="store_true", help="on disk before 250")
    add("--interval", default="0s", metavar="TIME", help="print the counters this often")
    add("--json", action="store_true", help="print JSON lines")


def profile_of(options: argparse.Namespace) -> Profile:
    """Return what the options ask for; raise ValueError where they are wrong."""
    if options.profile:
        if options.listen or options.rule:
            raise ValueError("--profile says where to listen and what to play: drop the others")
        profile = parse_profile(Path(options.profile).read_text("utf-8"))
        return msgspec.structs.replace(profile, seed=options.seed or profile.seed)
    site = Site(
        listen=tuple(options.listen or ("127.0.0.1:2526",)),
        rules=tuple(parse_rule(rule) for rule in options.rule),
        tarpit_s=parse_duration(options.tarpit),
        messages_max=options.messages_max,
        connections_max=options.connections_max,
        size_limit_octets=parse_size(options.size_limit),
        strict=options.strict,
    )
    return Profile((site,), options.seed)


def run(options: argparse.Namespace) -> int:
    """Play until SIGINT or SIGTERM; return the exit status."""
    try:
        profile = profile_of(options)
        interval_s = parse_duration(options.interval)
        recorder = None
        if options.record:
            recorder = Recorder(options.record, content=not options.no_content, sync=options.sync)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"postroom sink: {error}\n")
        return 64
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_play(Sink(profile, recorder), interval_s, options.json))
    except OSError as error:
        sys.stderr.write(f"postroom sink: {error}\n")
        return 71
    return 0


async def _play(sink: Sink, interval_s: float, as_json: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with sink:
        for name, addresses in sink.addresses.items():
            for host, port in addresses:
                if as_json:
                    _write(msgspec.json.encode({"site": name, "host": host, "port": port}).decode())
                else:
                    _write(f"{name} listens on {host}:{port}")
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s or None):
                    await stopping.wait()
            _write_counters(sink, as_json)


def _write_counters(sink: Sink, as_json: bool) -> None:
    for name, counters in sink.counters.items():
        if as_json:
            fields = {"site": name, **msgspec.structs.asdict(counters)}
            _write(msgspec.json.encode(fields).decode())
        else:
            _write(counters.line(name))


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def main() -> int:
    """Run as a program of its own."""
    parser = argparse.ArgumentParser(prog="postroom sink")
    add_arguments(parser)
    return run(parser.parse_args())
