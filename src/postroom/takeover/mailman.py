"""Mailman 3's queue files: a pickled message, and behind it a pickled dict of what is known.

A file of `out` or `retry` is not yet what goes on the wire. Mailman decides when it delivers:
the sender is `list-bounces@host`, or what the dict names; with VERP each recipient has one of
its own; a footer is added unless the dict says that it was, or that there is none to be; for a
personalised list each copy is changed. What a list is stands in its database (`MailingList`).
The footer, and the fields of a personalised copy, are made from templates and members: such
mail is refused, for Mailman alone can finish it.

Pure: octets in, a value out.
Called by: takeover.mailman_queue.  Raises: Unreadable.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from email.message import Message
from typing import Any

import msgspec

from postroom.core.message import Recipient
from postroom.takeover.mailman_message import message_of, octets_of
from postroom.takeover.pickled import Made, read_pickles
from postroom.takeover.value import RECIPIENTS_MAX, Foreign, Unreadable, text_of

FILE_OCTETS_MAX = 256 << 20
"""A pickle in memory is several times its file."""
LET_MAILMAN = (
    "let Mailman deliver it (smtp_host and smtp_port in mailman.cfg can name a listener of "
    "Postroom)"
)
_ARCHIVE = ["archive@mail-archive.com"]
"""The one recipient that Mailman adds no footer for."""
_VERP = "+="
_MAILTO = re.compile(r"<mailto:([^<>?@\s]{1,500})@([^<>?@\s]{1,500})>", re.IGNORECASE)


class MailingList(msgspec.Struct, frozen=True):
    """A list of Mailman's database; `personalize` is 0 for none, 2 where To is changed."""

    name: str
    host: str
    personalize: int


def parse(octets: bytes, name: str, lists: Mapping[str, MailingList] | None) -> Foreign:
    """Return the message of a file; `lists` is by list id, None where there is no database."""
    if len(octets) > FILE_OCTETS_MAX:
        raise Unreadable(f"{len(octets)} octets are too many for a pickle")
    pickled, known = read_pickles(octets, 2)
    if not isinstance(known, dict):
        raise Unreadable("the second pickle is no dict")
    if isinstance(pickled, str) and not known.get("_parsemsg"):
        raise Unreadable("the first pickle is a text, and no message")
    message = message_of(pickled, len(octets), boundary_of=name)
    recipients = _recipients(known)
    mailing_list, list_is_sure = _list_of(known, message, lists)
    _check_finished(known, recipients, mailing_list, list_is_sure)
    verp = bool(known.get("verp"))
    if verp or mailing_list.personalize:
        duplicates = known.get("add-dup-header") or ()
        if not isinstance(duplicates, set | tuple | list | dict):
            raise Unreadable("add-dup-header is no set")
        if any(recipient in duplicates for recipient in recipients):
            raise Unreadable(f"some copies are to be marked as second ones: {LET_MAILMAN}")
        del message["X-Mailman-Copy"]
    # A probe and a report have a sender of their own.
    sender = known.get("sender")
    if sender is None:
        sender = f"{mailing_list.name}-bounces@{mailing_list.host}"
    return Foreign(
        name=name,
        arrived_at=_arrival(known, name),
        reverse_path=_text(sender, "the sender"),
        recipients=tuple(map(Recipient, recipients)),
        content=octets_of(message),
        hold=_hold(known),
        verp=_VERP if verp else "",
        problems=() if recipients else ("no recipients: Mailman would send it to nobody",),
    )


def _recipients(known: Mapping[Any, Any]) -> list[str]:
    """Return the recipients in order of their text: Mailman keeps a set."""
    found = known.get("recipients")
    if found is None:
        return []
    if not isinstance(found, set | list | tuple):
        raise Unreadable("recipients is no set")
    if len(found) > RECIPIENTS_MAX:
        raise Unreadable(f"more than {RECIPIENTS_MAX} recipients")
    return sorted({_text(one, "a recipient") for one in found})


def _list_of(
    known: Mapping[Any, Any], message: Message, lists: Mapping[str, MailingList] | None
) -> tuple[MailingList, bool]:
    """Return the list of a message, and whether all is known about it.

    A list id does not say where the list's name ends and the host begins, for both hold dots.
    """
    list_id = known.get("listid")
    if not isinstance(list_id, str):
        raise Unreadable("it names no list (listid): Mailman would set it aside too (shunt)")
    if lists is not None:
        if list_id not in lists:
            raise Unreadable(f"Mailman's database has no list {list_id!r:.200}")
        return lists[list_id], True
    for field in message.get_all("List-Post", []):
        found = _MAILTO.search(str(field))
        if found is not None and f"{found[1]}.{found[2]}" == list_id:
            return MailingList(found[1], found[2], 0), False
    raise Unreadable(
        f"which part of {list_id!r:.200} is the host is not known: there is no database "
        f"(data/mailman.db beside the queue) and no List-Post field; {LET_MAILMAN}"
    )


def _check_finished(
    known: Mapping[Any, Any], recipients: list[str], mailing_list: MailingList, list_is_sure: bool
) -> None:
    """Refuse what Mailman would still change while it delivers."""
    if known.get("isdigest"):
        if not list_is_sure:
            raise Unreadable(
                "a digest: whether its list is personalised stands only in the database "
                f"(data/mailman.db); {LET_MAILMAN}"
            )
    elif not known.get("nodecorate") and recipients and recipients != _ARCHIVE:
        raise Unreadable(f"Mailman adds the list's footer when it delivers: {LET_MAILMAN}")
    if mailing_list.personalize not in (0, 1) and recipients:
        raise Unreadable(f"its list is personalised, each copy has a To of its own: {LET_MAILMAN}")


def _arrival(known: Mapping[Any, Any], name: str) -> float:
    """Return when Mailman took the posting in, or when it made the file."""
    received = known.get("received_time")
    if received is not None:
        return max(0.0, _moment(received).timestamp())
    try:
        return max(0.0, min(float(name.partition("+")[0]), 1e11))
    except ValueError as error:
        raise Unreadable("the name begins with no time") from error


def _moment(value: Any) -> datetime.datetime:
    """Return a date and time; Mailman's have no zone and mean UTC."""
    if isinstance(value, Made) and value.name == "datetime.datetime" and value.arguments:
        packed, *zone = value.arguments
        if isinstance(packed, bytes) and len(packed) == 10 and (not zone or _is_utc(zone[0])):
            year, micro = int.from_bytes(packed[:2], "big"), int.from_bytes(packed[7:], "big")
            month, day, hour, minute, second = packed[2:7]
            try:
                return datetime.datetime(
                    year, month, day, hour, minute, second, micro, tzinfo=datetime.UTC
                )
            except ValueError as error:
                raise Unreadable("a time that is none") from error
    raise Unreadable("a time that is none")


def _is_utc(zone: Any) -> bool:
    if not isinstance(zone, Made) or zone.name != "datetime.timezone":
        return False
    return any(
        isinstance(offset, Made)
        and offset.name == "datetime.timedelta"
        and not any(offset.arguments)
        for offset in zone.arguments[:1]
    )


def _hold(known: Mapping[Any, Any]) -> str:
    after = known.get("deliver_after")
    if after is None:
        return ""
    return f"not before {_moment(after):%Y-%m-%d %H:%M:%S} UTC in Mailman"


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{what} is no text")
    return text_of(value.encode("utf-8", "surrogatepass"), what)
