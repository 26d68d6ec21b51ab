"""The runner for the floor: what the bare exchange of the same octets costs, without a queue.

A message that is relayed crosses the loopback twice: a client sends it, a server takes it. One
exchange between two programs in C that do no more than that, client and server both counted, is
what the talking alone costs. `smtp-source` and `smtp-sink` talk one command at a time, as the
generator does to Postroom here; the light pair is pipelined, as Postroom's own client is.
"""

from __future__ import annotations

import os
import subprocess

from bench.programs import BenchError, Load, Sink, inject
from bench.relaying import relay
from bench.trial import Trial
from tests.support.ports import free_port
from tests.support.postfix import program, wait_for_greeting

POSTFIX_PAIR = "smtp-source to smtp-sink"
LIGHT_PAIR = "light generator to light sink"
SUBJECTS = (POSTFIX_PAIR, LIGHT_PAIR, "postroom")


def exchange(name: str, load: Load, trial: Trial) -> dict[str, float]:
    """Run one of the subjects once; only the processor time for a message is told."""
    if name == "postroom":
        return relay(name, load, trial)
    cpu_s = _light_pair_s(load) if name == LIGHT_PAIR else _postfix_pair_s(load, trial)
    return {"cpu_us": cpu_s / load.messages * 1e6}


def _light_pair_s(load: Load) -> float:
    with Sink([load.messages]) as sink:
        return inject(load, sink.port).cpu_s + sink.stop()["cpu_s"]


def _postfix_pair_s(load: Load, trial: Trial) -> float:
    port = free_port()
    sink = subprocess.Popen(
        [program("smtp-sink") or "", "-u", "nobody", f"127.0.0.1:{port}", "1000"],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_greeting(port, sink)
        source = subprocess.Popen(
            [program("smtp-source") or "", "-d", "-s", str(load.sessions), "-l", str(load.octets),
             "-m", str(load.messages), f"127.0.0.1:{port}"],
        )  # fmt: skip
        sent_s, status = _reaped(source)
        if status:
            raise BenchError(f"smtp-source ended with {status}")
    finally:
        sink.terminate()
        took_s, _ = _reaped(sink)
    return sent_s + took_s


def _reaped(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Wait for the end of a process; return its processor time and its status."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, process.returncode
