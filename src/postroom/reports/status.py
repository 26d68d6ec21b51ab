"""The part of a DSN that programs read: message/delivery-status.

Called by: reports.dsn.  Raises: nothing.
RFCs: 3464; 6533 for addresses outside US-ASCII.
"""

from __future__ import annotations

from collections.abc import Sequence

from postroom.core.reply import Reply
from postroom.core.terms import format_moment
from postroom.reports.decide import ReportKind
from postroom.reports.facts import (
    ReportedMessage,
    ReportedRecipient,
    ReportOrigin,
    clean,
    date,
)

_CLASSES = {
    ReportKind.FAILED: "5",
    ReportKind.DELAYED: "4",
    ReportKind.DELIVERED: "2",
    ReportKind.RELAYED: "2",
}


def write_status(
    kind: ReportKind,
    message: ReportedMessage,
    recipients: Sequence[ReportedRecipient],
    origin: ReportOrigin,
    *,
    is_global: bool,
) -> str:
    """Return the fields about the message, then those of each recipient, with CRLF."""

    def shown(text: str) -> str:
        return clean(text, ascii_only=not is_global)

    lines = []
    if message.envelope.envid:
        # RFC 3464 §2.2.1: as the sender gave it, no longer in xtext.
        lines.append(f"Original-Envelope-Id: {shown(message.envelope.envid)}")
    lines.append(f"Reporting-MTA: dns; {shown(origin.hostname)}")
    lines.append(f"Arrival-Date: {date(message.arrived_at)}")
    terms = message.envelope.terms
    if terms is not None and terms.release_at:
        # RFC 4865: what the sender asked for, an interval or a moment.
        asked = f"for;{terms.hold_for_s}" if terms.hold_for_s else ""
        asked = asked or f"until;{format_moment(terms.release_at)}"
        lines.append(f"Future-Release-Request: {asked}")
    if terms is not None and terms.deliver_by:
        # RFC 2852: until when it was to be delivered.
        lines.append(f"Deliver-By-Date: {date(terms.deliver_by)}")
    for one in recipients:
        lines.append("")
        if one.recipient.orcpt:
            family, _, address = one.recipient.orcpt.partition(";")
            lines.append(f"Original-Recipient: {shown(family)}; {shown(address)}")
        # RFC 6533 §3: an address outside US-ASCII has the type utf-8.
        family = "rfc822" if one.recipient.address.isascii() else "utf-8"
        lines.append(f"Final-Recipient: {family}; {shown(one.recipient.address)}")
        lines.append(f"Action: {kind.value}")
        is_late = one.expired and terms is not None and terms.by_mode == "R"
        # RFC 2852: 5.4.7 where the sender set the time that is over.
        status = "5.4.7" if is_late else status_of(kind, one.reply, expired=one.expired)
        lines.append(f"Status: {status}")
        if one.host:
            lines.append(f"Remote-MTA: {shown(remote_mta(one.host))}")
        # RFC 3464 §2.3.6: the type names whose code it is; ours is not a remote host's.
        lines.append(f"Diagnostic-Code: {'smtp' if one.host else 'x-postroom'}; "
                     f"{shown(str(one.reply))}")  # fmt: skip
        if one.attempted_at is not None:
            lines.append(f"Last-Attempt-Date: {date(one.attempted_at)}")
        if one.retry_until is not None and kind is ReportKind.DELAYED:
            lines.append(f"Will-Retry-Until: {date(one.retry_until)}")
    return "\r\n".join(lines) + "\r\n"


def remote_mta(host: str) -> str:
    """Return type and name of the host that an outcome calls "name[address]:port"."""
    if host.startswith("unix:"):
        # RFC 3461 §9.3: the type dns is for names and addresses; a local socket has neither.
        return f"x-local; {host}"
    name, _, rest = host.partition("[")
    if name:
        return f"dns; {name}"
    # RFC 5321 §4.1.3: an address in place of a name.
    address = rest.partition("]")[0]
    return f"dns; [IPv6:{address}]" if ":" in address else f"dns; [{address}]"


def status_of(kind: ReportKind, reply: Reply, *, expired: bool = False) -> str:
    """Return the Status field: the reply's own code where it fits the kind."""
    if expired:
        # RFC 3463 §3.5: X.4.7, delivery time expired; class 4, for the cause was transient.
        return "4.4.7"
    enhanced = reply.enhanced
    if enhanced and enhanced[0] == _CLASSES[kind]:
        return enhanced
    # RFC 3463 §3.1: X.0.0, other undefined status.
    return f"{_CLASSES[kind]}.0.0"
