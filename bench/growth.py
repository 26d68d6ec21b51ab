"""The runner for growing cost: the rate of delivery while mail waits at few sites or at many.

The same number of messages waits in each run, spread over 10 sites or 100,000: each domain has an
MX host of its own, which a name server on loopback says, so that each is a site of its own. They
are in the spool before the start, in a channel that is suspended; all of them are made due, so
that the scheduler has the lanes of as many sites as its bound lets in. Then a load for another
channel is relayed as in any other case.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from bench.big_queue import fill_all
from bench.programs import BenchError, Load
from bench.relaying import relay
from bench.running import Running
from bench.systems import System, postroom_relay
from bench.trial import Trial
from postroom.spool.embedded import prepare_base
from postroom.spool.policy import SpoolPolicy

WAITING = 100_000
WAITING_OCTETS = 512
SITES = {"10 sites": 10, "1,000 sites": 1000, "100,000 sites": 100_000}
QUIET_DEADLINE_S = 240.0


def among_waiting(subject: str, load: Load, trial: Trial) -> dict[str, float]:
    """Run Postroom once while mail waits at so many sites."""
    with NameServer() as names:
        layout = functools.partial(_waiting_relay, SITES[subject], names.port)
        return relay("postroom", load, trial, layout=layout, prepare=_make_due)


@contextlib.contextmanager
def _waiting_relay(sites: int, names_port: int, base: str, sink_port: int) -> Iterator[System]:
    with postroom_relay(base, sink_port) as system:
        file = Path(system.command[-1])
        text = file.read_text()
        # The load has a channel and a route of its own; everything else waits.
        text = text.replace("[route.default]", "[route.load]")
        text += (
            f'\n[resolver]\nservers = ["127.0.0.1:{names_port}"]\n'
            '[route.default]\ntype = "mx"\n'
            '[channel.load]\nmatch = ["bench.example"]\nroute = "load"\n'
        )
        file.write_text(text)
        policy = SpoolPolicy(base=str(file.parent / "spool"), count=2)
        options = argparse.Namespace(
            messages=WAITING, octets=WAITING_OCTETS, domains=sites, due_percent=0.0
        )
        fill_all(prepare_base(policy).queues, policy, options)
        yield system


def _make_due(running: Running) -> None:
    """Suspend the channel of what waits and make it due; return once the server is quiet."""
    running.command("channel", "suspend", "default")
    running.command("mail", "run", "all")
    time.sleep(1)
    running.quiet(QUIET_DEADLINE_S)


class NameServer:
    """A name server on loopback, to which every domain has one MX host, with a name below it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            octets, peer = self._socket.recvfrom(4096)
            if not octets:
                return
            query = dns.message.from_wire(octets)
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.RA | dns.flags.AA
            question = query.question[0]
            text = {
                dns.rdatatype.MX: f"10 mx.{question.name}",
                dns.rdatatype.A: "127.0.0.1",
            }.get(question.rdtype)
            if text is not None:
                answer.answer.append(
                    dns.rrset.from_text(question.name, 3600, "IN", question.rdtype, text)
                )
            self._socket.sendto(answer.to_wire(), peer)

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # An empty datagram ends it.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(10)
        self._socket.close()
        if self._thread.is_alive():
            raise BenchError("the name server does not end")
