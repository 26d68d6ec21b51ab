"""`postroom site lessons`: what replies have said of sites; `site resume` lifts it.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import time

from postroom.cli.output import FINDING, OK, USAGE, fail, plural, print_json, print_table
from postroom.cli.reach import Spool, master
from postroom.control.answers import Changed
from postroom.control.commands import LessonArgs
from postroom.core.clock import SystemClock
from postroom.core.units import format_duration
from postroom.shaping.lessons import Lesson
from postroom.shaping.replies import Action

ALL = "all"
_WORDS = {
    Action.SUSPEND: "suspended",
    Action.BACK_OFF: "its deferred mail waits",
    Action.SWITCH_SOURCE: "its deferred mail waits (there is no other source)",
}
DAY_S = 86400.0


def told(lesson: Lesson, now: float) -> str:
    """Return what a lesson says, in one line: "suspended until 12:30 by reply rule ..."."""
    word = _WORDS.get(lesson.action) or f"slow, 1/{1 << lesson.halvings} of its limits,"
    form = "%H:%M" if lesson.until - now < DAY_S else "%Y-%m-%d %H:%M"
    until = time.strftime(form, time.localtime(lesson.until))
    return f"{word} until {until} by reply rule {lesson.rule}: {lesson.reply}"


def lessons(options: argparse.Namespace) -> int:
    """`site lessons`: exit 1 where a site is suspended."""
    with master(Spool(options)) as client:
        known = list(client.stream("site lessons", None, Lesson))
    now = SystemClock().now()
    rows: list[tuple[object, ...]] = []
    for one in known:
        if options.json:
            print_json(one)
            continue
        left = format_duration(max(1.0, one.until - now))
        action = f"{one.action} 1/{1 << one.halvings}" if one.halvings else one.action.value
        rows.append((one.site, action, left, one.rule, one.reply))
    if rows:
        print_table(("SITE", "ACTION", "FOR", "RULE", "REPLY"), rows)
    elif not options.json:
        print("no reply rule is in force on any site")
    return FINDING if any(one.action is Action.SUSPEND for one in known) else OK


def resume(options: argparse.Namespace) -> int:
    """`site resume`."""
    if not options.site:
        fail("expected a site, or all", "see them: postroom site lessons", USAGE)
    site = "" if options.site == ALL else options.site
    with master(Spool(options)) as client:
        changed: Changed = client.call("site resume", LessonArgs(site), Changed)
    if options.json:
        print_json(changed)
    elif not changed.count and site:
        fail(f"no reply rule is in force on {site}", "see where one is: postroom site lessons")
    else:
        print(f"{plural(changed.count, 'lesson')} lifted; mail that was not tried comes at once")
    return OK if changed.count or not site else FINDING
