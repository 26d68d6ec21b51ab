"""Commands that change queues: add, adopt, retire, enable, hold, drain, offline.

With the server up it is asked, and what is said is in force at once; with it down a state is
kept for the next start, and nothing is added or retired.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from postroom.cli.output import FINDING, OK, TEMPORARY, USAGE, fail, print_json, warn
from postroom.cli.reach import Spool, master
from postroom.control.answers import Changed, QueueStatus
from postroom.control.client import ControlClient, ServerUnavailable
from postroom.control.commands import QueueAddArgs, QueueVerbArgs
from postroom.control.protocol import Code, ControlError
from postroom.spool.queue_state import QUEUE_VERBS, QueueState

_NAME = re.compile(r"(?:queue)?(\d{1,6})")
_MEANING = {
    QueueState.ENABLED: "takes mail and delivers it",
    QueueState.HELD: "takes mail and attempts nothing",
    QueueState.DRAINING: "takes nothing new and delivers what it has",
    QueueState.OFFLINE: "is closed; its mail waits",
}

Setter = Callable[[int], QueueStatus]


def set_states(options: argparse.Namespace) -> int:
    """Set the state of each queue that is named."""
    numbers = [number_of(text) for text in options.queue]
    state = QUEUE_VERBS[options.verb]
    spool = Spool(options)
    try:
        with master(spool) as client:
            return _each(numbers, _by_server(client, options.verb), options.json)
    except ServerUnavailable:
        return _each(numbers, _by_hand(spool, state), options.json)


def add(options: argparse.Namespace) -> int:
    """Have the server make one more queue."""
    return _take_in(options, "queue add", "is made and being served")


def adopt(options: argparse.Namespace) -> int:
    """Have the server serve a queue that another left."""
    return _take_in(
        options, "queue adopt", f"is {options.directory} from now on, with all its mail"
    )


def _take_in(options: argparse.Namespace, command: str, done: str) -> int:
    directory = str(Path(options.directory).absolute()) if options.directory else ""
    with master(Spool(options)) as client:
        queue = client.call(command, QueueAddArgs(directory), QueueStatus)
    if options.json:
        print_json(queue)
    else:
        print(f"queue{queue.queue} {done}")
    return OK


def retire(options: argparse.Namespace) -> int:
    """Have the server close empty queues for good."""
    numbers = [number_of(text) for text in options.queue]
    code = OK
    with master(Spool(options)) as client:
        for number in numbers:
            try:
                client.call("queue retire", QueueVerbArgs(number), Changed)
            except ServerUnavailable:
                raise
            except ControlError as error:
                warn(f"{error.error}; {error.hint}")
                code = FINDING
            else:
                print(f"queue{number} is retired; its empty directory can be removed")
    return code


def _each(numbers: list[int], setter: Setter, as_json: bool) -> int:
    code = OK
    for number in numbers:
        try:
            queue = setter(number)
        except ServerUnavailable:
            raise
        except ControlError as error:
            # The others are set all the same.
            warn(f"{error.error}; {error.hint}")
            code = FINDING
            continue
        if as_json:
            print_json(queue)
        else:
            print(f"queue{number} is {queue.queue_state}: it {_MEANING[queue.queue_state]}")
    return code


def _by_server(client: ControlClient, verb: str) -> Setter:
    def set_one(number: int) -> QueueStatus:
        answer: QueueStatus = client.call(f"queue {verb}", QueueVerbArgs(number), QueueStatus)
        return answer

    return set_one


def _by_hand(spool: Spool, state: QueueState) -> Setter:
    from postroom.control.ownership import act_as_owner
    from postroom.spool.embedded import lock_base, read_manifest, set_state
    from postroom.spool.errors import QueueBusy, QueueUnusable

    base = Path(spool.base)

    def set_one(number: int) -> QueueStatus:
        try:
            if not base.is_dir() or read_manifest(base) is None:
                fail(f"no queue in {base}", "the first start makes them: postroom serve")
            act_as_owner(base)
            lock = lock_base(base)
            try:
                found = set_state(base, number, state)
            finally:
                lock.release()
        except QueueBusy as error:
            fail(str(error), "a server is starting or stopping: try again", TEMPORARY)
        except (QueueUnusable, OSError) as error:
            fail(f"queue{number}: {error}", "nothing was changed")
        if found is None:
            hint = "see them: postroom queue list"
            raise ControlError(f"there is no queue{number}", hint, Code.NOT_FOUND)
        return QueueStatus(queue=number, state="not served", queue_state=found.state)

    return set_one


def number_of(text: str) -> int:
    """Return the number of a queue that was named on the command line."""
    match = _NAME.fullmatch(text)
    if match is None:
        fail(
            f"{text}: not the name of a queue", "queue1, or 1; see them: postroom queue list", USAGE
        )
    return int(match[1])
