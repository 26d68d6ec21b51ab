"""Messages per second and CPU per message, Postroom and Postfix side by side.

`make bench` (or this program with `--help`). Each run: a fresh system, a fresh sink
(`smtp-sink`), and `smtp-source` as the generator. The clock runs from the first injection to
the last delivery, when the sink has had its count and ends. CPU is that of all processes of
the system, those that ended included (see measured.py), without generator, sink and start;
"kthr us" is what the threads of the kernel used meanwhile per message, on top of it.
Runs alternate in pairs, so that what the machine does otherwise falls on both alike.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.measured import cpu_so_far, kernel_threads_cpu, process_count  # noqa: E402
from bench.systems import SYSTEMS, System  # noqa: E402
from tests.support import postfix  # noqa: E402

SETTLE_S = 0.5
"""Given to both systems after the last delivery to write down what they know."""


@dataclass(frozen=True)
class Run:
    """What one run came to."""

    pair: int
    system: str
    version: str
    messages: int
    octets: int
    sessions: int
    kept_open: bool
    wall_s: float
    injected_s: float
    messages_per_s: float
    cpu_s: float
    cpu_us_per_message: float
    kernel_share: float
    kernel_threads_us: float
    processes: int


def measure(
    options: argparse.Namespace, name: str, pair: int, kept_open: bool
) -> tuple[Run, System]:
    """Run one system once."""
    sink_port = postfix.free_port()
    with (
        SYSTEMS[name](options.directory, sink_port) as system,
        tempfile.TemporaryDirectory() as scratch,
    ):
        result = Path(scratch) / "cpu.json"
        sink = subprocess.Popen(
            [postfix.program("smtp-sink"), "-u", "nobody", "-M", str(options.messages),
             f"127.0.0.1:{sink_port}", "1000"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wrapper = subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "measured.py"), str(result), "--",
             *system.command],
            stdout=subprocess.DEVNULL, stderr=(Path(scratch) / "stderr").open("wb"),
        )  # fmt: skip
        try:
            try:
                postfix.wait_for_greeting(system.port, wrapper)
            except (RuntimeError, TimeoutError) as error:
                raise SystemExit(f"{error}\n{(Path(scratch) / 'stderr').read_text()}") from None
            time.sleep(SETTLE_S)
            before_s = cpu_so_far(wrapper.pid)
            threads_before_s = kernel_threads_cpu()
            started = time.monotonic()
            if subprocess.run(generator(options, system.port, kept_open), check=False).returncode:
                raise SystemExit(f"{name}: the generator was turned away, see above")
            injected = time.monotonic()
            processes = process_count(wrapper.pid)
            try:
                sink.wait(options.deadline)
            except subprocess.TimeoutExpired:
                raise SystemExit(
                    f"{name}: not all of {options.messages} messages came to the sink within "
                    f"{options.deadline} s\n{(Path(scratch) / 'stderr').read_text()}"
                ) from None
            ended = time.monotonic()
            time.sleep(SETTLE_S)
            threads_s = kernel_threads_cpu() - threads_before_s
        finally:
            if sink.poll() is None:
                sink.kill()
            sink.wait()
            wrapper.send_signal(signal.SIGTERM)
            wrapper.wait(60)
        used = json.loads(result.read_text())
    cpu_s = used["user"] + used["system"] - before_s
    wall_s = ended - started
    run = Run(
        pair, name, system.version, options.messages, options.octets, options.sessions,
        kept_open, round(wall_s, 3), round(injected - started, 3),
        round(options.messages / wall_s, 1), round(cpu_s, 3),
        round(cpu_s / options.messages * 1e6, 1),
        round(used["system"] / (used["user"] + used["system"]), 2),
        round(threads_s / options.messages * 1e6, 1), processes,
    )  # fmt: skip
    return run, system


def generator(options: argparse.Namespace, port: int, kept_open: bool) -> list[str]:
    """Return the command that injects the messages."""
    command = [postfix.program("smtp-source") or "smtp-source"]
    if kept_open:
        command.append("-d")
    return [
        *command, "-s", str(options.sessions), "-l", str(options.octets),
        "-m", str(options.messages), "-f", "sender@bench.example",
        "-t", "recipient@bench.example", f"127.0.0.1:{port}",
    ]  # fmt: skip


def machine(directory: str) -> list[str]:
    """Return what a reader must know of the machine, one fact a line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    mount = subprocess.run(
        ["df", "--output=source,fstype,target", directory],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load = os.getloadavg()[0]
    disk = " ".join(mount.split())
    return [
        f"machine: {os.cpu_count()} x {model}, Linux {platform.release()}, load {load:.1f}",
        f"disk: {disk}; one synced write of 4 KiB takes {sync_ms(directory):.2f} ms",
        f"python: {python}",
    ]


def sync_ms(directory: str) -> float:
    """Return the median time of a small synced append, in milliseconds."""
    times = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(50):
            before = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - before)
    return statistics.median(times) * 1000


def table(runs: list[Run], names: list[str]) -> list[str]:
    """Return the table of all runs, medians and ratios."""
    form = "{:<6} {:<10} {:>9} {:>9} {:>11} {:>9} {:>11} {:>8} {:>9} {:>6}"
    head = (
        "pair",
        "system",
        "wall s",
        "inject s",
        "messages/s",
        "CPU s",
        "CPU us/msg",
        "kernel",
        "kthr us",
        "procs",
    )
    lines = [form.format(*head)]
    for run in runs:
        lines.append(
            form.format(
                run.pair, run.system, f"{run.wall_s:.2f}", f"{run.injected_s:.2f}",
                f"{run.messages_per_s:.0f}", f"{run.cpu_s:.2f}", f"{run.cpu_us_per_message:.0f}",
                f"{run.kernel_share:.0%}", f"{run.kernel_threads_us:.0f}", run.processes,
            )
        )  # fmt: skip
    rates, costs = {}, {}
    for name in names:
        of_name = [run for run in runs if run.system == name]
        rates[name] = statistics.median(run.messages_per_s for run in of_name)
        costs[name] = statistics.median(run.cpu_us_per_message for run in of_name)
        lines.append(
            form.format(
                "median", name, "", "", f"{rates[name]:.0f}", "", f"{costs[name]:.0f}", "", "", ""
            )
        )
    if set(names) == {"postfix", "postroom"}:
        rate = rates["postroom"] / rates["postfix"]
        cost = costs["postfix"] / costs["postroom"]
        lines.append(
            f"ratio: {rate:.1f} times Postfix's messages per second, "
            f"1/{cost:.1f} of its CPU per message"
        )
    return lines


def write_csv(path: Path, runs: list[Run]) -> None:
    """Write all runs to a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(runs[0])))
        writer.writeheader()
        writer.writerows(asdict(run) for run in runs)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--messages", type=int, default=10_000)
    add("--octets", type=int, default=4096, help="length of a message")
    add("--sessions", type=int, default=20, help="simultaneous sessions of the generator")
    add("--pairs", type=int, default=3, help="runs of each system, alternating")
    add(
        "--connections",
        choices=("new", "kept", "both"),
        default="both",
        help="one for each message, kept open (smtp-source -d), or one table for each",
    )
    add("--only", choices=sorted(SYSTEMS), help="one system alone")
    add("--directory", default="/var/tmp", help="queues lie below it, on its disk")
    add("--deadline", type=float, default=300.0, help="seconds until a run is given up")
    add("--csv", default="", metavar="FILE", help="default: bench/results/end-to-end-TIME.csv")
    return parser.parse_args()


def main() -> int:
    """Run all pairs and print the table."""
    options = arguments()
    names = [options.only] if options.only else ["postfix", "postroom"]
    if postfix.program("smtp-source") is None:
        print("smtp-source and smtp-sink are missing: 'make peers' installs them with Postfix")
        return 69
    if "postfix" in names and (reason := postfix.missing()):
        print(f"{reason}; or measure Postroom alone: make bench ARGS='--only postroom'")
        return 69
    for fact in machine(options.directory):
        print(fact)
    modes = {"new": [False], "kept": [True], "both": [False, True]}[options.connections]
    runs: list[Run] = []
    for kept_open in modes:
        runs += compare(options, names, kept_open)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = Path(options.csv or ROOT / "bench" / "results" / f"end-to-end-{stamp}.csv")
    write_csv(path, runs)
    print(f"\nwritten: {os.path.relpath(path)}")
    return 0


def compare(options: argparse.Namespace, names: list[str], kept_open: bool) -> list[Run]:
    """Run all pairs with one kind of connections, print the table and return the runs."""
    how = "kept open" if kept_open else "a new one for each message"
    print(
        f"\nload: {options.messages} messages of {options.octets} octets, one recipient each, "
        f"{options.sessions} sessions, connections: {how}"
    )
    runs: list[Run] = []
    described: dict[str, System] = {}
    for pair in range(1, options.pairs + 1):
        # The order alternates as well: neither always follows the other.
        for name in names if pair % 2 else reversed(names):
            run, described[name] = measure(options, name, pair, kept_open)
            runs.append(run)
            print(
                f"  pair {pair}, {name}: {run.messages_per_s:.0f} messages/s, "
                f"{run.cpu_us_per_message:.0f} us CPU per message",
                flush=True,
            )
    print()
    for system in described.values():
        print(f"{system.name} {system.version}: {system.settings}")
    print("\n".join(table(runs, names)))
    return runs


if __name__ == "__main__":
    sys.exit(main())
