"""The terms that a client may ask for with MAIL: what is offered, and what was agreed.

HOLDFOR and HOLDUNTIL (RFC 4865) say when a message is to be released, MT-PRIORITY (RFC 6710)
how urgent it is, BY (RFC 2852) by when it is to be delivered. What is asked for is read when
MAIL has it, and then held against what the listener offers; mail without such a parameter never
comes here.

Called by: smtp.server_commands, ingress.local.  Raises: ReplyError with the reply to give.
RFCs: RFC 2852, RFC 4865, RFC 6710.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from postroom.core.errors import ReplyError
from postroom.core.reply import Reply
from postroom.core.terms import LATEST, PRIORITIES, Terms, format_moment, parse_moment
from postroom.core.units import format_duration

KEYWORDS = frozenset(("HOLDFOR", "HOLDUNTIL", "MT-PRIORITY", "BY"))
_INTERVAL_DIGITS_MAX = 9  # RFC 4865: an interval has 1 to 9 digits
_PRIORITY = re.compile(r"(?:-?[1-9]|0)\Z")  # RFC 6710 §3
# RFC 2852 §4: seconds of 9 digits, a mode, and T for a trace.
_BY = re.compile(r"([+-]?[0-9]{1,9});([NRnr])([Tt]?)\Z")
MOMENT_MAX = 64
"""Characters of a moment: far more than RFC 3339 §5.6 needs."""


class TermsOffered(msgspec.Struct, frozen=True):
    """What a listener offers; `future_release_s` is how far away a release may be, 0: not.

    `priority_max` is the best priority that is granted, None: no priorities; `deliver_by_min_s`
    the shortest time in which mail is to be delivered or returned, 0: none.
    """

    future_release_s: float = 0.0
    priority_max: int | None = None
    deliver_by_min_s: float = 0.0

    def lines(self, now: float) -> list[str]:
        """Return the lines of EHLO."""
        lines = []
        if self.future_release_s:
            # RFC 4865: the longest interval, and the latest moment.
            latest = format_moment(now + self.future_release_s)
            lines.append(f"FUTURERELEASE {int(self.future_release_s)} {latest}")
        if self.priority_max is not None:
            lines.append("MT-PRIORITY")
        if self.deliver_by_min_s:
            # RFC 2852 §4: the shortest time.
            lines.append(f"DELIVERBY {max(1, int(self.deliver_by_min_s))}")
        return lines


NOTHING_OFFERED = TermsOffered()


def agree(asked: Mapping[str, str], offered: TermsOffered, now: float) -> Terms | None:
    """Return the terms that parameters of MAIL ask for, where they are offered; None: nothing."""
    release_at, hold_for_s = _release(asked, offered, now)
    # With both, the time begins when the message is released.
    by = _deadline(asked, offered, release_at or now)
    terms = Terms(release_at, hold_for_s, _priority(asked, offered), *by)
    return None if terms.is_nothing else terms


def lowered(asked: Mapping[str, str], terms: Terms | None) -> Reply | None:
    """Return the reply to MAIL where less was granted than was asked for."""
    given = asked.get("MT-PRIORITY")
    granted = terms.priority if terms is not None else 0
    if given is None or int(given) == granted:
        return None
    # RFC 6710 §4.1: X.3.6 and the priority that it has now.
    return Reply(250, "2.3.6", f"{granted} is the new priority assigned to the message")


def fault_of(terms: Terms, offered: TermsOffered, now: float) -> Reply | None:
    """Say why terms that came ready made are not taken; None: they are."""
    if not all(0 <= one <= LATEST for one in (terms.release_at, terms.deliver_by)):
        # What lies outside could not be written into a DSN; what is no number does as well.
        return Reply(501, "5.5.4", "a moment lies between 1970 and the end of 9999")
    if terms.priority not in PRIORITIES:
        return Reply(501, "5.5.4", "a priority is from -9 to 9")
    if terms.by_mode not in ("", "N", "R") or bool(terms.by_mode) != bool(terms.deliver_by):
        return Reply(501, "5.5.4", "a deadline has the mode N or R")
    if terms.by_mode:
        if not offered.deliver_by_min_s:
            return Reply(555, "5.5.4", "no deadlines are taken (deliver_by_min)")
        fault = _too_short(terms.deliver_by - max(now, terms.release_at), terms.by_mode, offered)
        if fault is not None:
            return fault
    if terms.release_at <= now:
        return None
    if not offered.future_release_s:
        return Reply(555, "5.5.4", "mail for a later time is not taken (future_release)")
    return _too_far(terms.release_at, offered, now)


def _release(asked: Mapping[str, str], offered: TermsOffered, now: float) -> tuple[float, int]:
    interval, moment = asked.get("HOLDFOR"), asked.get("HOLDUNTIL")
    if interval is None and moment is None:
        return 0.0, 0
    if not offered.future_release_s:
        raise _unknown("HOLDFOR" if interval is not None else "HOLDUNTIL")
    if interval is not None and moment is not None:
        # RFC 4865: one of the two.
        raise _bad("HOLDFOR and HOLDUNTIL stand for each other")
    hold_for_s = 0
    if interval is not None:
        is_number = interval.isascii() and interval.isdigit()
        if not is_number or len(interval) > _INTERVAL_DIGITS_MAX or not int(interval):
            raise _bad("HOLDFOR is a number of seconds")
        hold_for_s = int(interval)
        release_at = now + hold_for_s
    else:
        assert moment is not None
        try:
            release_at = parse_moment(moment) if len(moment) <= MOMENT_MAX else 0.0
        except ValueError:
            raise _bad("HOLDUNTIL is a moment such as 2026-12-01T08:00:00Z") from None
        if release_at <= now:
            raise _bad("HOLDUNTIL lies in the past")
    fault = _too_far(release_at, offered, now)
    if fault is not None:
        raise ReplyError(fault)
    return release_at, hold_for_s


def _priority(asked: Mapping[str, str], offered: TermsOffered) -> int:
    given = asked.get("MT-PRIORITY")
    if given is None:
        return 0
    if offered.priority_max is None:
        raise _unknown("MT-PRIORITY")
    if not _PRIORITY.match(given):
        raise _bad("MT-PRIORITY is a number from -9 to 9")
    # RFC 6710 §4.1: a server may lower what it does not want to grant.
    return min(int(given), offered.priority_max)


def _deadline(
    asked: Mapping[str, str], offered: TermsOffered, begins_at: float
) -> tuple[float, str, bool]:
    given = asked.get("BY")
    if given is None:
        return 0.0, "", False
    if not offered.deliver_by_min_s:
        raise _unknown("BY")
    found = _BY.match(given)
    if found is None:
        raise _bad("BY is seconds, a semicolon, and N or R")
    seconds, mode = int(found[1]), found[2].upper()
    fault = _too_short(seconds, mode, offered)
    if fault is not None:
        raise ReplyError(fault)
    return begins_at + seconds, mode, bool(found[3])


def _too_short(seconds: float, mode: str, offered: TermsOffered) -> Reply | None:
    # RFC 2852 §4: what is late already may be reported (N), but not returned (R).
    if mode == "N" or seconds >= offered.deliver_by_min_s:
        return None
    if seconds <= 0:
        return Reply(501, "5.5.4", "Mail to be returned when it is late needs time to come")
    return Reply(555, "5.5.4", f"Mail is delivered within {offered.deliver_by_min_s:g} s at least")


def _too_far(release_at: float, offered: TermsOffered, now: float) -> Reply | None:
    if release_at <= now + offered.future_release_s:
        return None
    longest = format_duration(offered.future_release_s)
    return Reply(501, "5.5.4", f"Mail is kept for a later time for {longest} at most")


def _unknown(keyword: str) -> ReplyError:
    # RFC 5321 §4.1.1.11: 555 for a parameter that is not recognised.
    return ReplyError(Reply(555, "5.5.4", f"Unknown parameter {keyword}"))


def _bad(text: str) -> ReplyError:
    return ReplyError(Reply(501, "5.5.4", text))
