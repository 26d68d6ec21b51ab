"""What a webhook costs whose receiver is down: delivery without it and with it, by pairs.

    make bench-webhook
    make bench-webhook ARGS="--rounds 31 --load 40000"

One server in two shapes, changed by `postroom reload` between runs: without a webhook, and with
one for every event whose receiver refuses connections, tried again each second. Which comes first
takes turns. The companion that reads the events and tries in vain is a process of its own on the
same machine; what it uses is part of what it costs here.

The exit status is 1 where the goal is missed, or where the webhook did not fall behind.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import secrets
from pathlib import Path

from bench.big_queue import Row
from bench.pairs import pair_rows, run
from bench.watching import run_load
from postroom.webhooks.kept import DIRECTORY
from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.ports import free_port
from tests.support.sink_process import SinkProcess

RETRY_MAX_S = 1
EVENTS_OF_A_MESSAGE = 3
"""accepted, delivered, done."""


def webhook(directory: Path) -> str:
    """Return the lines of the configuration for a webhook whose receiver is down."""
    secret = directory / "secret"
    secret.write_text("whsec_" + base64.b64encode(secrets.token_bytes(24)).decode() + "\n")
    secret.chmod(0o600)
    return (
        f'[webhook.down]\nurl = "http://127.0.0.1:{free_port()}/"\n'
        f'secret_file = "{secret}"\nretry_max = "{RETRY_MAX_S}s"\n'
    )


def change(daemon: Daemon, config: str, *, companions: int) -> None:
    """Give the server another configuration, and wait until it has as many companions."""
    daemon.write_config(config)
    code, out = postroom(daemon, "reload")
    if code:
        raise SystemExit(out)
    daemon.wait_until(lambda: sum(one.pid > 0 for one in daemon.status().companions) == companions)


def begin(daemon: Daemon, hooked: str) -> None:
    """Have the webhook begin: what comes from now on waits for its receiver."""
    change(daemon, hooked, companions=1)
    kept = daemon.base / "spool-events" / DIRECTORY / "down.json"
    daemon.wait_until(kept.exists, what="it has a place in the stream")


def behind(daemon: Daemon) -> int:
    """Return how many events the receiver still lacks."""
    [shown] = in_json(daemon, "webhook", "list")
    return int(shown["behind"])


def measure(options: argparse.Namespace, base: Path) -> list[Row]:
    """Deliver in pairs of runs; return the rows of the table."""
    sink = SinkProcess(base, "--no-content")
    plain = "[listen.smtp]\naddress = ['127.0.0.1:0']\nmessages_max = 1000000\n"
    hooked = plain + webhook(base)
    pairs, missing, last = [], [], 0
    with Daemon(relay=sink.port, queues=2, base=base / "server", config=plain) as daemon:
        begin(daemon, hooked)
        asyncio.run(run_load(daemon, sink, options.load // 4))  # nothing is cold
        for number in range(options.rounds):
            found = {}
            for down in (False, True) if number % 2 else (True, False):
                change(daemon, hooked if down else plain, companions=int(down))
                last = behind(daemon) if down else 0
                found[down] = asyncio.run(run_load(daemon, sink, options.load))
                if down:
                    missing.append(behind(daemon) - last)
            pairs.append((found[False], found[True]))
            print(f"round {number + 1}: {found[False]:.0f}/s without, {found[True]:.0f}/s with,"
                  f" {missing[-1]} more events wait", flush=True)  # fmt: skip
    sink.stop()
    expected = EVENTS_OF_A_MESSAGE * options.load
    return [
        *pair_rows("delivered without", "delivered with its receiver down", pairs),
        Row("events a run left waiting, fewest", f"{min(missing)}", f">= {expected}",
            min(missing) >= expected),
    ]  # fmt: skip


def main() -> int:
    """Run as a program."""
    words = __doc__.splitlines()[0] if __doc__ else ""
    parser = argparse.ArgumentParser(prog="make bench-webhook", description=words)
    parser.add_argument("--load", type=int, default=20_000, help="messages of one run")
    parser.add_argument("--rounds", type=int, default=15, help="two at least")
    parser.add_argument("--directory", default=None, help="where the spool lies meanwhile")
    options = parser.parse_args()
    if options.rounds < 2 or options.load < 4:
        parser.error("--rounds needs 2 or more, --load 4")
    return run(lambda base: measure(options, base), options.directory)


if __name__ == "__main__":
    raise SystemExit(main())
