"""Commands about the server: serve, check, reload, stop, delivery, status, queue list.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from postroom.cli.output import FINDING, OK, TEMPORARY, fail, plural, print_json, print_table, warn
from postroom.cli.queues import (
    NOT_ANSWERING,
    Queues,
    queue_directories,
    queue_states,
    silent_queues,
    unsafe_directories,
)
from postroom.cli.reach import Spool, load_again, load_configuration, master
from postroom.control.answers import (
    Changed,
    ChannelMoved,
    CompanionStatus,
    QueueStatus,
    ReloadResult,
    Status,
)
from postroom.control.client import ServerUnavailable
from postroom.control.commands import MailVerbArgs, StopArgs
from postroom.control.ownership import act_as_owner
from postroom.core.clock import SystemClock
from postroom.core.units import format_duration
from postroom.observe.board import WorkerState
from postroom.spool.queue_state import QueueState

if TYPE_CHECKING:
    from postroom.config.model import Config

TAKING = (WorkerState.RUNNING.word, WorkerState.SUSPENDED.word)
HEALTHY = (*TAKING, WorkerState.STARTING.word)
BACKING_OFF = "FAILED (back-off)"
HEARTBEAT_AGE_MAX_S = 10.0


def serve(options: argparse.Namespace) -> int:
    """Run the server until it is told to stop."""
    from postroom.spool.errors import QueueBusy, QueueUnusable
    from postroom.supervisor.privileges import warning_of
    from postroom.supervisor.serve import serve as run

    loaded = load_configuration(options, files=True)
    for warning in filter(None, (*loaded.warnings, warning_of(loaded.config))):
        warn(warning)

    def load() -> Config:
        return load_again(options)

    def announce(state: Status) -> None:
        for line in welcome(state, options.config):
            print(line)
        # The last line a person needs; what follows is the event log.
        print(flush=True)

    try:
        return run(loaded.config, load, announce)
    except QueueBusy as error:
        fail(f"already running: {error}", "see it: postroom status", TEMPORARY)
    except QueueUnusable as error:
        fail(str(error), "see what is wrong: postroom fsck", 73)
    except OSError as error:
        fail(_explained(error), "see which addresses are set: postroom check", 73)


def welcome(state: Status, config_file: str | None) -> list[str]:
    """Return what a person wants to know when the server is up."""
    this = f"{_callable_name()}{f' --config {config_file}' if config_file else ''}"
    lines = [
        f"Postroom {state.version} is up: {plural(len(state.queues), 'queue')}, pid {state.pid}",
        *(f"  listening on {address}" for address in state.listen),
        *(
            f"  {one.name:<12} http://{address}"
            for one in state.companions
            for address in one.listen
        ),
        f"  spool        {state.base}",
        f"  settings     {state.source or 'defaults (no configuration file)'}",
    ]
    if state.delivery == "suspended":
        lines.append(f"  delivery     SUSPENDED; resume it: {this} delivery resume")
    if state.listen:
        host, _, port = state.listen[0].rpartition(":")
        host = host.rpartition(" ")[2].strip("[]")
        python = (
            f"import smtplib; smtplib.SMTP('{host}', {port}).sendmail('me@example.org', "
            "['you@example.org'], 'Subject: hello\\n\\nhello')"
        )
        lines.append("To try next:")
        if shutil.which("swaks"):
            to = "--from me@example.org --to you@example.org"
            lines.append(f"  swaks --server {host} --port {port} {to}")
        lines += [f'  python3 -c "{python}"', f"  {this} status", f"  {this} mailq"]
    return lines


def _callable_name() -> str:
    """Return what to type for this program: after `make run` it is in no directory of PATH."""
    here = Path(sys.argv[0])
    found = shutil.which("postroom")
    is_script = here.name == "postroom" and here.is_file()
    if not is_script or (found and Path(found).resolve() == here.resolve()):
        return "postroom"
    # Seldom are we called from elsewhere than where the next command will be typed.
    place = here.resolve()
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else str(place)


def _explained(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{error.filename}: {text}" if error.filename else text


def check(options: argparse.Namespace) -> int:
    """Print the effective configuration, or every mistake."""
    from postroom.cli.channels import warn_of_overrides
    from postroom.cli.sources import warn_of_pauses
    from postroom.config.render import as_json, as_toml

    loaded = load_configuration(options, files=True)
    if options.json:
        print_json(as_json(loaded.config, loaded.sources))
    else:
        print(as_toml(loaded.config, loaded.sources), end="")
    for warning in loaded.warnings:
        warn(warning)
    act_as_owner(loaded.config.spool.base)
    warn_of_overrides(loaded.config)
    warn_of_pauses(loaded.config)
    unsafe = unsafe_directories(loaded.config.spool.base)
    for path, component in unsafe.items():
        warn(
            f"{path} is not used: {component} may be written to by group or others, "
            "or is another user's; chmod go-w, chown"
        )
    return FINDING if unsafe else OK


def reload(options: argparse.Namespace) -> int:
    """Have the server read its configuration again."""
    with master(Spool(options)) as client:
        result = client.call("reload", None, ReloadResult)
    moved: list[ChannelMoved] = []
    if result.gone or options.reroute:
        for link in Queues(Spool(options)):
            if options.reroute and link.is_running:
                link.call("mail reroute", MailVerbArgs(), Changed)
            if result.gone:
                moved += link.stream("channel gone", None, ChannelMoved)
    if options.json:
        print_json({**msgspec.structs.asdict(result), "moved": moved})
        return OK
    print(f"generation {result.generation} is in force")
    for name in result.pending:
        print(f"{name}: changed, needs a restart")
    for name in result.gone:
        to = Counter({one.to: 0 for one in moved if one.name == name})
        for one in moved:
            if one.name == name:
                to[one.to] += one.recipients
        goes = [f"{plural(count, 'recipient')} now by channel {one}" for one, count in to.items()]
        print(f"channel {name} is gone: {', '.join(goes) or 'it had no mail'}")
    return OK


def stop(options: argparse.Namespace) -> int:
    """Stop the server."""
    with master(Spool(options)) as client:
        count = client.call("stop", StopArgs(options.now), Changed).count
    print(f"stopping {plural(count, 'worker')}")
    return OK


def delivery(options: argparse.Namespace) -> int:
    """Suspend or resume delivery."""
    with master(Spool(options)) as client:
        told = client.call(f"delivery {options.verb}", None, Changed)
    if options.json:
        print_json(told)
    else:
        print(f"delivery is {'suspended' if options.verb == 'suspend' else 'running'}")
    return OK


def status(options: argparse.Namespace) -> int:
    """Print the state of the server and its queues."""
    spool = Spool(options)
    with master(spool) as client:
        state = client.call("status", None, Status)
    state = msgspec.structs.replace(state, queues=_asked(spool, state.queues))
    healthy = all(_is_healthy(queue) for queue in state.queues) and not state.stopping
    if options.json:
        print_json(state)
        return OK if healthy else FINDING
    up_s = max(1.0, SystemClock().now() - state.started_at)
    print(
        f"postroom {state.version}, pid {state.pid}, up {format_duration(up_s)}, "
        f"{state.hostname}, delivery {state.delivery}{', stopping' if state.stopping else ''}"
    )
    print(f"spool {state.base}")
    print(f"configuration {state.source or 'defaults'} (generation {state.generation})")
    for address in state.listen:
        print(f"listening on {address}")
    for one in state.companions:
        print(f"{one.name} {one.state} on {' '.join(one.listen)}{_trouble(one)}")
    for name in state.pending:
        print(f"{name}: changed, needs a restart")
    heads = (
        "QUEUE", "STATE", "PID", "MESSAGES", "RECIPIENTS", "HELD", "IN FLIGHT", "SESSIONS",
        "ACCEPTED", "DELIVERED", "DEFERRED", "FAILED", "DELIVERED/S", "NOTE",
    )  # fmt: skip
    rows = [(*_row(queue), queue.delivered / up_s, _note(queue)) for queue in state.queues]
    print_table(heads, [(*row[:-2], f"{row[-2]:.1f}", row[-1]) for row in rows])
    return OK if healthy else FINDING


def queue_list(options: argparse.Namespace) -> int:
    """Print the queues, those that are not served too."""
    spool = Spool(options)
    served: dict[int, QueueStatus] = {}
    try:
        with master(spool) as client:
            listed = tuple(client.stream("queue list", None, QueueStatus))
        served = {queue.queue: queue for queue in _asked(spool, listed)}
    except ServerUnavailable as error:
        warn(f"{error.error}: only what lies in the spool is shown")
    rows: list[tuple[object, ...]] = []
    wrong = False
    states = queue_states(spool.base)
    for number, path in queue_directories(spool.base).items():
        queue = served.get(number, QueueStatus(queue=number, state="not served"))
        missing = not path.is_dir()
        wrong |= missing or (bool(served) and not _is_healthy(queue))
        state = "MISSING" if missing else _state_of(queue, states[number])
        if options.json:
            row = {"queue": number, "path": str(path), "state": state, "worker": queue}
            print_json({**row, "queue_state": states[number]})
        figures = (queue.messages, queue.recipients, queue.held) if number in served else ("",) * 3
        rows.append((f"queue{number}", state, *figures, path, _note(queue)))
    if not options.json:
        print_table(("QUEUE", "STATE", "MESSAGES", "RECIPIENTS", "HELD", "PATH", "NOTE"), rows)
    if not rows:
        fail(f"no queue in {spool.base}", "the first start makes them: postroom serve")
    return FINDING if wrong else OK


def _trouble(one: CompanionStatus) -> str:
    if not one.error:
        return ""
    return f": {one.error} (started again {plural(one.restarts, 'time')})"


def _state_of(queue: QueueStatus, wanted: QueueState) -> str:
    """Return the state of a queue in a word, or two where its worker is in another."""
    if queue.state == WorkerState.FAILED.word:
        return BACKING_OFF if wanted is QueueState.ENABLED else f"{wanted.value}, {BACKING_OFF}"
    usual = WorkerState.SUSPENDED if wanted is QueueState.HELD else WorkerState.RUNNING
    if wanted is QueueState.ENABLED:
        return queue.state
    if queue.state in (usual.word, wanted.value):
        return wanted.value
    return f"{wanted.value} ({queue.state})"


def _is_healthy(queue: QueueStatus) -> bool:
    if queue.queue_state is QueueState.OFFLINE:
        return True
    silent = queue.heartbeat_age_s >= HEARTBEAT_AGE_MAX_S or not queue.answering
    return queue.state in HEALTHY and not silent


def _asked(spool: Spool, queues: Sequence[QueueStatus]) -> tuple[QueueStatus, ...]:
    """Return what the master knows, with a word on who does not answer just now."""
    silent = silent_queues(spool.base, [queue.queue for queue in queues if queue.pid])
    return tuple(
        msgspec.structs.replace(queue, answering=queue.queue not in silent) for queue in queues
    )


def _row(queue: QueueStatus) -> tuple[object, ...]:
    return (
        f"queue{queue.queue}", _state_of(queue, queue.queue_state), queue.pid, queue.messages,
        queue.recipients, queue.held, f"{queue.in_flight}/{queue.concurrency}", queue.sessions,
        queue.accepted, queue.delivered, queue.deferred, queue.failed,
    )  # fmt: skip


def _note(queue: QueueStatus) -> str:
    notes = [queue.detail.rstrip(".")] if queue.detail else []
    if queue.starts_at:
        at = datetime.fromtimestamp(queue.starts_at, UTC).astimezone().strftime("%H:%M:%S")
        left_s = max(1.0, queue.starts_at - SystemClock().now())
        notes.append(f"starts again at {at} (in {format_duration(left_s)})")
    elif queue.error and not queue.detail and queue.state not in TAKING:
        notes.append(f"before: {queue.error}")
    takes_mail = queue.queue_state.takes_mail and queue.state in TAKING
    if not queue.room and queue.pid and takes_mail:
        notes.append("no room for new mail")
    if queue.is_grown:
        notes.append("made by growth")
    if queue.restarts:
        notes.append(plural(queue.restarts, "restart"))
    if not queue.answering:
        notes.append(NOT_ANSWERING)
    if queue.heartbeat_age_s >= HEARTBEAT_AGE_MAX_S:
        notes.append(f"silent for {format_duration(queue.heartbeat_age_s)}")
    return "; ".join(notes)
