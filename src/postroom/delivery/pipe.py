"""Delivery to a program: content on standard input, outcome from the exit status.

No shell is involved: each word of the command is one argument, and an address is put into
a word but never makes a second one. The program runs in a process group of its own, which
is killed as a whole when the deadline passes or the attempt is cancelled.

Guarantees: 1. the program is gone when the attempt ends.  2. at most OUTPUT_OCTETS_MAX of
its output are kept.
Called by: delivery.agent.  Raises: nothing that the world does; CancelledError.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from postroom.core.errors import ContentCorrupt
from postroom.core.message import Content, Outcome, OutcomeKind
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.delivery.line_ends import LineEnds
from postroom.delivery.placeholders import fill, words_of
from postroom.routing.policy import PipeRoute

OUTPUT_OCTETS_MAX = 4096
"""Output kept; its last line goes into the reply."""

_REPLY_TEXT_MAX = 400
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")
"""What a program sees of our environment; ours may hold secrets."""

# sysexits.h: what each status says, as an enhanced status code. Others with a meaning of
# "mend the program" defer, so that a mistake in a command loses no mail.
_PERMANENT_EXITS = {
    65: "5.6.0",  # EX_DATAERR
    67: "5.1.1",  # EX_NOUSER
    68: "5.1.2",  # EX_NOHOST
    69: "5.3.0",  # EX_UNAVAILABLE
    76: "5.5.0",  # EX_PROTOCOL
    77: "5.7.0",  # EX_NOPERM
}
_TEMPORARY_EXITS = {
    64: "4.3.5",  # EX_USAGE
    66: "4.3.0",  # EX_NOINPUT
    70: "4.3.0",  # EX_SOFTWARE
    71: "4.3.0",  # EX_OSERR
    72: "4.3.0",  # EX_OSFILE
    73: "4.2.2",  # EX_CANTCREAT
    74: "4.3.0",  # EX_IOERR
    75: "4.3.0",  # EX_TEMPFAIL
    78: "4.3.5",  # EX_CONFIG
    126: "4.3.5",
    127: "4.3.5",
}


class PipeAgent:
    """Runs programs, one for each recipient."""

    __slots__ = ()

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        """Run the command once for each recipient, one after the other."""
        started = asyncio.get_running_loop().time()
        route = attempt.destination.route
        assert isinstance(route, PipeRoute)
        outcomes = []
        scope = FailureScope.NONE
        for index in range(len(attempt.envelope.recipients)):
            outcome, concern = await _deliver_one(attempt, route, index)
            outcomes.append(outcome)
            scope = max(scope, concern)
        duration_s = asyncio.get_running_loop().time() - started
        return AttemptReport(outcomes=tuple(outcomes), scope=scope, duration_s=duration_s)

    async def close(self) -> None:
        """Programs end with their attempts."""


async def _deliver_one(
    attempt: Attempt, route: PipeRoute, index: int
) -> tuple[Outcome, FailureScope]:
    envelope = attempt.envelope
    words = words_of(envelope.recipients[index], envelope.reverse_path, attempt.id)
    command = [fill(word, words) for word in route.command]
    for template, word in zip(route.command, command, strict=True):
        # An address at the start of a word must not become an option of the program.
        if "\0" in word or (word.startswith("-") and not template.startswith("-")):
            text = "an address that cannot be an argument of the command"
            return _outcome("5.1.3", text), FailureScope.RECIPIENT
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return _outcome("4.3.5", f"cannot run {command[0]}: {error}"), FailureScope.LOCAL
    try:
        async with asyncio.timeout(route.timeout_s):
            output, _ = await asyncio.gather(
                _read(process), _feed(process, attempt.content, attempt.envelope.reverse_path)
            )
            status = await process.wait()
    except TimeoutError:
        text = f"{command[0]} did not end within {route.timeout_s:g} s"
        return _outcome("4.3.0", text), FailureScope.RECIPIENT
    except ContentCorrupt as error:
        return _outcome("4.3.0", f"content cannot be read: {error}"), FailureScope.LOCAL
    finally:
        await _kill(process)
    return _by_status(command[0], status, output)


async def _feed(process: asyncio.subprocess.Process, content: Content, reverse_path: str) -> None:
    stdin = process.stdin
    assert stdin is not None
    line_ends = LineEnds()
    # A program may end, rightly, without having read everything: its status decides.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(f"Return-Path: <{reverse_path}>\n".encode("utf-8", "surrogateescape"))
        async for chunk in content.chunks():
            stdin.write(line_ends.to_lf(chunk))
            await stdin.drain()
        stdin.write(line_ends.end())
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def _read(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    kept = b""
    while octets := await process.stdout.read(65536):
        kept = (kept + octets)[-OUTPUT_OCTETS_MAX:]
    return kept


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the whole process group, whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        await process.wait()


def _by_status(program: str, status: int, output: bytes) -> tuple[Outcome, FailureScope]:
    lines = output.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    last = "".join(character if character.isprintable() else "?" for character in last)
    said = f": {last[:_REPLY_TEXT_MAX]}" if last else ""
    if status == 0:
        reply = Reply(250, EnhancedStatusCode("2.0.0"), f"delivered to command{said}")
        return Outcome(OutcomeKind.DELIVERED, reply), FailureScope.NONE
    if status in _PERMANENT_EXITS:
        text = f"{program} exited with status {status}{said}"
        return _outcome(_PERMANENT_EXITS[status], text), FailureScope.RECIPIENT
    if status < 0:
        text = f"{program} was ended by signal {-status}{said}"
    else:
        text = f"{program} exited with status {status}{said}"
    return _outcome(_TEMPORARY_EXITS.get(status, "4.3.0"), text), FailureScope.RECIPIENT


def _outcome(enhanced: str, text: str) -> Outcome:
    permanent = enhanced[0] == "5"
    kind = OutcomeKind.FAILED if permanent else OutcomeKind.DEFERRED
    return Outcome(kind, Reply(550 if permanent else 451, EnhancedStatusCode(enhanced), text))
