"""`postroom why`: what a message waits for, or the mail for a site, and the limit that binds.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse

import msgspec

from postroom.cli.lessons import told
from postroom.cli.output import OK, TEMPORARY, fail, plural, print_json, printable
from postroom.cli.queues import Queues
from postroom.cli.reach import Spool
from postroom.control.commands import WhyArgs
from postroom.core.clock import SystemClock
from postroom.core.ids import parse_queue_id
from postroom.core.units import format_duration
from postroom.engine.why import MessageWhy, Why
from postroom.queueing.why import DELIVERY_SUSPENDED, QUEUE_HELD, LaneWhy, LimitUse

RECIPIENTS_SHOWN_MAX = 20


def why(options: argparse.Namespace) -> int:
    """`why`."""
    args = _arguments(options.what)
    queues = Queues(Spool(options))
    now = SystemClock().now()
    found, asked, closed = False, 0, list[str]()
    for link in queues:
        if not link.is_running:
            closed.append(f"queue{link.number}")
            continue
        asked += 1
        answer: Why = link.call("why", args, Why)
        if answer.message is None and not answer.lanes and not answer.lessons:
            continue
        found = True
        if options.json:
            print_json(msgspec.structs.asdict(answer))
            continue
        _print(answer, now)
    if not found:
        if closed:
            known = f"the queues that answer know nothing of {options.what}, and " if asked else ""
            fail(
                f"{known}nothing is tried in {', '.join(closed)}: no worker serves what is there",
                "start the server with: postroom serve; or a queue with: postroom queue enable",
                TEMPORARY,
            )
        if queues.absent:
            fail(f"the queues that answer know nothing of {options.what}")
        if args.id is not None:
            fail(f"no message {args.id}", "it was delivered or deleted: the event log knows")
        fail(
            f"no mail waits for {options.what}, and nothing is known of it",
            "where mail would go: postroom route ADDRESS",
        )
    return queues.code(OK)


def _arguments(what: str) -> WhyArgs:
    try:
        return WhyArgs(id=parse_queue_id(what.lower()))
    except ValueError:
        return WhyArgs(what=what.rpartition("@")[2])


def _print(answer: Why, now: float) -> None:
    if answer.is_suspended:
        print(f"queue{answer.queue}: {DELIVERY_SUSPENDED}, or {QUEUE_HELD}")
    if answer.message is not None:
        _print_message(answer.message, answer.queue, now)
    for lane in answer.lanes:
        print(f"queue{answer.queue}:")
        _print_lane(lane, now)
    for lesson in answer.lessons:
        print(printable(f"site {lesson.site}: {told(lesson, now)}"))


def _print_message(message: MessageWhy, queue: int, now: float) -> None:
    age = format_duration(max(0.0, now - message.arrived_at))
    print(f"{message.id} in queue{queue}, arrived {age} ago")
    shown: set[tuple[str, str]] = set()
    left = [one for one in message.recipients if one.waits_for]
    done = len(message.recipients) - len(left)
    if done:
        print(f"  {done} of {len(message.recipients)} recipients are done")
    for one in left[:RECIPIENTS_SHOWN_MAX]:
        print(printable(f"  {one.address}: waits for {one.waits_for}"))
        if one.next_at > now:
            print(f"    next attempt in {format_duration(one.next_at - now)}")
        if one.reply:
            host = f" ({one.host})" if one.host else ""
            print(
                printable(
                    f"    last reply, of {plural(one.attempts, 'attempt')}: {one.reply}{host}"
                )
            )
        lane = one.lane
        if lane is not None and (lane.channel, lane.site) not in shown:
            shown.add((lane.channel, lane.site))
            _print_lane(lane, now)
    if len(left) > RECIPIENTS_SHOWN_MAX:
        print(f"  and {len(left) - RECIPIENTS_SHOWN_MAX} more recipients; --json shows all")


def _print_lane(lane: LaneWhy, now: float) -> None:
    print(
        printable(
            f"    channel {lane.channel}, site {lane.site}: {lane.in_flight} in flight, "
            f"{lane.waiting} ready, window {lane.window}"
        )
    )
    if lane.rests_until > now and not lane.rest_rule:
        rest = f"      rests for {format_duration(lane.rests_until - now)}: {lane.rest_reply}"
        print(printable(rest))
    for use in lane.limits:
        print(printable(f"      {_limit(use)}"))
    if lane.binds:
        print(printable(f"      what binds: {lane.binds}"))


def _limit(use: LimitUse) -> str:
    words = []
    if use.limit is not None:
        kept = f" + {use.kept} kept open" if use.kept else ""
        words.append(
            f"{use.in_flight}{kept} of {use.granted} granted here, {use.limit} over all queues"
        )
    if use.rate:
        words.append(f"rate {use.rate}, {use.tokens} may go now")
    return f"{use.of}: {'; '.join(words) or 'no bound'}"
