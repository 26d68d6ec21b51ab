"""`postroom load`: how busy each queue is, which arithmetic says so, and a load for trials.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse

from postroom.cli.output import OK, USAGE, fail, print_json, print_table
from postroom.cli.queue_verbs import number_of
from postroom.cli.queues import Queues
from postroom.cli.reach import Spool, master
from postroom.control.answers import Changed, QueueLoad, QueueStatus
from postroom.control.commands import LoadSetArgs
from postroom.queueing.load import PPM, ChannelLoad, busiest, in_ppm

LOAD_MAX = 1000.0
WHOLE = "(all)"
"""The queue as a whole, with what is ready in the store."""


def load(options: argparse.Namespace) -> int:
    """`load`."""
    spool = Spool(options)
    with master(spool) as client:
        status = {one.queue: one for one in client.stream("queue list", None, QueueStatus)}
    queues = Queues(spool)
    rows: list[tuple[object, ...]] = []
    for link in queues:
        if not link.is_running:
            continue
        answer: QueueLoad = link.call("load", None, QueueLoad)
        known = status.get(link.number)
        pretended = known.pretended_ppm if known is not None else -1
        top = busiest(answer.channels)
        if options.json:
            print_json(_in_json(answer, top, pretended))
            continue
        shown = "" if pretended < 0 else f"pretends {pretended / PPM:.3f}"
        row = (f"queue{answer.queue}", f"{top.load if top else 0.0:.3f}")
        if not options.explain:
            rows.append((*row, _name(top) if top else "", shown))
            continue
        for channel in answer.channels:
            rows.append((*row, _name(channel), _arithmetic(channel), shown))
            row = ("", "")
        if not answer.channels:
            rows.append((*row, "", "nothing to do", shown))
    if rows and options.explain:
        print_table(("QUEUE", "LOAD", "CHANNEL", "(IN FLIGHT + READY) / LIMIT", ""), rows)
    elif rows:
        print_table(("QUEUE", "LOAD", "BUSIEST CHANNEL", ""), rows)
    return queues.code()


def _name(one: ChannelLoad) -> str:
    return one.name or WHOLE


def _arithmetic(one: ChannelLoad) -> str:
    return f"({one.in_flight} + {one.ready}) / {one.limit} = {one.load:.3f}"


def _in_json(answer: QueueLoad, top: ChannelLoad | None, pretended: int) -> dict[str, object]:
    return {
        "queue": answer.queue,
        "load": round(top.load, 6) if top is not None else 0.0,
        "busiest": top.name if top is not None else None,
        "pretended": pretended / PPM if pretended >= 0 else None,
        "concurrency": answer.concurrency,
        "channels": [
            {
                "name": one.name,
                "in_flight": one.in_flight,
                "ready": one.ready,
                "limit": one.limit,
                "load": round(one.load, 6),
            }
            for one in answer.channels
        ],
    }


def set_load(options: argparse.Namespace) -> int:
    """`load set`."""
    number = number_of(options.queue)
    load_ppm = -1 if options.load == "off" else _ppm(options.load)
    with master(Spool(options)) as client:
        client.call("load set", LoadSetArgs(number, load_ppm), Changed)
    if options.json:
        print_json({"queue": number, "pretended": load_ppm / PPM if load_ppm >= 0 else None})
    elif load_ppm < 0:
        print(f"queue{number} publishes its own load")
    else:
        print(f"queue{number} pretends a load of {load_ppm / PPM:.3f} until off, or a restart")
    return OK


def _ppm(text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= LOAD_MAX:
        fail(f"{text}: expected a load from 0 to {LOAD_MAX:.0f}, or off", "0.95", USAGE)
    return in_ppm(value)
