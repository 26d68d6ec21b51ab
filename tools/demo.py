"""`make demo`: a server, a few remote sites that misbehave, and a load, to look at.

Everything lies in a temporary directory and listens on loopback. Each site has a channel of
its own that relays to a port of the sink; nothing asks the DNS and no mail leaves the machine.
Ctrl-C stops it all, in order.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from postroom.control.tokens import Role, Tokens
from postroom.core.clock import SystemClock
from postroom.sink.counters import Counters
from postroom.sink.profile import Profile, Site, parse_rule
from postroom.sink.recorder import Recorder
from postroom.sink.server import Sink

# Name of the site, what it does for people to read, its rules, its tarpit, and whether it
# gets much of the load.
SITES = (
    ("fast", "takes everything at once", (), 0.0, 60),
    ("slow", "waits before each reply", (), 0.3, 10),
    ("refusing", "knows only some recipients",
     ("rcpt=unknown* reply=550 5.1.1 No such user",), 0.0, 10),
    ("grey", "says 'later' for the first seconds", ("rcpt greylist=6s",), 0.0, 10),
    ("busy", "often answers 451, sometimes hangs up",
     ("mail percent=40 reply=451 4.3.2 Too busy", "content percent=10 drop"), 0.05, 10),
    ("home", "gets the reports (DSNs)", (), 0.0, 0),
)  # fmt: skip
LINE_S = 2.0


def free_port() -> int:
    """Return a port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def profile() -> Profile:
    """Return the sites of the demo, each on a free port."""
    return Profile(
        tuple(
            Site(
                name=name, listen=("127.0.0.1:0",), hostname=f"mx.{name}.example",
                rules=tuple(parse_rule(rule) for rule in rules), tarpit_s=tarpit_s,
            )
            for name, _, rules, tarpit_s, _ in SITES
        ),
        seed=1,
    )  # fmt: skip


def configuration(base: Path, port: int, console: int, sink: Sink) -> str:
    """Return the configuration of the demo's server."""
    lines = [
        'hostname = "demo.example"',
        f'[spool]\nbase = "{base}/spool"\ncount = 2',
        f'[listen.smtp]\naddress = ["127.0.0.1:{port}"]',
        f'[console]\naddress = ["127.0.0.1:{console}"]',
        f'[log]\npath = "{base}/events.log"\nformat = "json"',
    ]
    for site in sink.addresses:
        relay = f"127.0.0.1:{sink.port(site)}"
        lines.append(f'[route.{site}]\ntype = "relay"\nhost = "{relay}"')
        lines.append(
            f'[channel.{site}]\nmatch = ["{site}.example"]\nroute = "{site}"\n'
            'retry = "exponential 2s x2 max 30s for 1h"'
        )
    return "\n\n".join(lines) + "\n"


async def wait_for_greeting(port: int, server: asyncio.subprocess.Process) -> bool:
    """Wait until the server greets; say whether it does."""
    for _ in range(300):
        if server.returncode is not None:
            return False
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            greeting = await reader.readline()
            writer.close()
            if greeting.startswith(b"220"):
                return True
        await asyncio.sleep(0.05)
    return False


class Load:
    """Sends mail to the sites, at a steady rate over a few sessions."""

    def __init__(self, port: int, rate: float) -> None:
        self.accepted = 0
        self.refused = 0
        self._port = port
        self._rate = rate
        self._dice = random.Random(1)

    async def run(self) -> None:
        """Send until cancelled; a session that breaks is begun anew."""
        while True:
            try:
                await self._session()
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(1)

    async def _session(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await self._reply(reader)
            await self._say(reader, writer, b"EHLO load.example\r\n")
            while True:
                code = 0
                for part in self._message():
                    code = await self._say(reader, writer, part)
                    if code >= 400:
                        break
                self.accepted += code == 250
                self.refused += code >= 400
                if code == 421:
                    return
                if code >= 400:
                    await self._say(reader, writer, b"RSET\r\n")
                await asyncio.sleep(self._dice.expovariate(self._rate))
        finally:
            writer.close()

    def _message(self) -> Iterator[bytes]:
        site = self._dice.choices([site[0] for site in SITES], [site[4] for site in SITES])[0]
        # At the refusing site every third recipient is one that it does not know.
        user = "unknown" if site == "refusing" and self._dice.randrange(3) == 0 else "user"
        recipient = f"{user}{self._dice.randrange(1000)}@{site}.example"
        yield b"MAIL FROM:<sender@home.example>\r\n"
        yield f"RCPT TO:<{recipient}>\r\n".encode()
        yield b"DATA\r\n"
        yield (
            f"From: sender@home.example\r\nTo: {recipient}\r\nSubject: demo\r\n\r\n"
            f"{'Hello from the demo. ' * self._dice.randrange(1, 100)}\r\n.\r\n"
        ).encode()

    async def _say(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, octets: bytes
    ) -> int:
        writer.write(octets)
        return await self._reply(reader)

    async def _reply(self, reader: asyncio.StreamReader) -> int:
        while True:
            line = await reader.readuntil(b"\n")
            if line[3:4] != b"-":
                return int(line[:3])


@contextlib.asynccontextmanager
async def server(base: Path, file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `postroom serve` until left; it has half a minute to end what is in flight."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "postroom.supervisor.serve", "--config", str(file),
        stdout=(base / "serve.out").open("wb"), stderr=(base / "serve.err").open("wb"),
        # Ctrl-C at the terminal is for us: the server is stopped by TERM, in order.
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(40):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def program() -> str:
    """Return the path of the `postroom` command of this environment."""
    return str(Path(sys.executable).with_name("postroom"))


def make_token(base: Path) -> str:
    """Return a token of an operator, for the web pages of the demo."""
    tokens = Tokens(base / "spool", SystemClock())
    try:
        return tokens.create("demo", Role.OPERATOR)[0]
    finally:
        tokens.close()


def explain(file: Path, port: int, console: int, token: str) -> str:
    """Return what to look at, for another terminal."""
    command = shlex.join([os.path.relpath(program()), "--config", str(file)])
    sites = "\n".join(f"  {name + '.example':17} {what}" for name, what, *_ in SITES)
    return f"""\
A Postroom with two queues listens on 127.0.0.1:{port}. It relays to these sites of a sink:

{sites}

Try in another terminal:

  {command} status
  {command} mail list
  {command} route someone@slow.example
  tail -f {file.parent}/events.log

In a browser: http://127.0.0.1:{console}/ with the token

  {token}

Ctrl-C stops. What each site has taken so far (and refused or dropped):
"""


def line(seconds: float, load: Load, counters: dict[str, Counters]) -> str:
    """Return the state of things as one line."""
    parts = [f"{seconds:4.0f} s  accepted {load.accepted}"]
    for name, seen in counters.items():
        trouble = seen.refused + seen.dropped
        parts.append(f"{name} {seen.messages}" + (f" ({trouble})" if trouble else ""))
    return ", ".join(parts)


async def demonstrate(options: argparse.Namespace) -> int:
    """Run everything until a signal comes or the time is over; return the exit status."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    with tempfile.TemporaryDirectory(prefix="postroom-demo-") as name:
        base = Path(name)
        file = base / "postroom.toml"
        port, console = options.port or free_port(), free_port()
        async with Sink(profile(), Recorder(str(base / "sink.jsonl"), content=False)) as sink:
            file.write_text(configuration(base, port, console, sink))
            async with server(base, file) as process:
                if not await wait_for_greeting(port, process):
                    print(f"The server does not start:\n{(base / 'serve.err').read_text()}")
                    return 1
                print(explain(file, port, console, make_token(base)), flush=True)
                load = Load(port, options.rate / 2)
                senders = [asyncio.create_task(load.run()) for _ in range(2)]
                started = loop.time()
                while not stopping.is_set() and process.returncode is None:
                    left_s = (
                        options.seconds - (loop.time() - started) if options.seconds else LINE_S
                    )
                    if left_s <= 0:
                        break
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(min(LINE_S, left_s)):
                            await stopping.wait()
                    print(line(loop.time() - started, load, sink.counters), flush=True)
                for sender in senders:
                    sender.cancel()
                await asyncio.gather(*senders, return_exceptions=True)
                print("\nStopping: what is in flight may end ...", flush=True)
            status = process.returncode or 0
            counters = sink.counters
        summary = {name: seen.messages for name, seen in counters.items()}
        print(f"Accepted {load.accepted}, taken by the sites: {json.dumps(summary)}")
        print("The rest was still waiting for another try; it goes with the demo's directory.")
    if status:
        print(f"The server ended with status {status}.")
    return status


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0, help="stop by itself after this time")
    parser.add_argument("--rate", type=float, default=20, help="messages per second")
    parser.add_argument("--port", type=int, default=0, help="of the server; 0: any free one")
    options = parser.parse_args()
    return asyncio.run(demonstrate(options))


if __name__ == "__main__":
    sys.exit(main())
