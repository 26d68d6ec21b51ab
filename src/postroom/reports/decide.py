"""Whether a recipient's outcome is to be reported to the sender.

Called by: engine.  Raises: nothing.
RFCs: 3461, RFC 2852.
"""

from __future__ import annotations

import enum

from postroom.core.message import Notify, Outcome, Recipient


class ReportKind(enum.Enum):
    """What a DSN tells; the value is its Action field (RFC 3464 §2.3.3).

    DELIVERED is for routes that end here (lmtp, maildir, pipe, discard), RELAYED for mail
    given to an SMTP host that does not take over the duty to report.
    """

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


_ASKED = {
    ReportKind.FAILED: Notify.FAILURE,
    ReportKind.DELAYED: Notify.DELAY,
    ReportKind.DELIVERED: Notify.SUCCESS,
    ReportKind.RELAYED: Notify.SUCCESS,
}
_UNASKED = (ReportKind.FAILED, ReportKind.DELAYED)


def report_due(
    kind: ReportKind,
    reverse_path: str,
    recipient: Recipient,
    outcome: Outcome | None = None,
    *,
    insists: bool = False,
) -> bool:
    """Say whether a DSN of this kind is owed for a recipient.

    `insists`: other terms of the message ask for it (RFC 2852), whatever NOTIFY does but NEVER.
    """
    # RFC 5321 §6.1: nothing is ever sent about mail with a null reverse-path.
    if not reverse_path:
        return False
    notify = recipient.notify
    # RFC 3461 §4.1: NEVER means never; without the parameter, failures are reported, and
    # a delay may be.
    if notify & Notify.NEVER:
        return False
    if insists:
        return True
    # RFC 3461 §5.2.2: a host that knows DSN has taken over the duty to report success.
    if outcome is not None and outcome.dsn_passed_on and kind not in _UNASKED:
        return False
    if not notify:
        return kind in _UNASKED
    return bool(notify & _ASKED[kind])


def why_dropped(reverse_path: str, recipient: Recipient) -> str:
    """Return why nobody is told that this recipient failed: words for the log."""
    if not reverse_path:
        return "null reverse-path"
    return "NOTIFY=NEVER" if recipient.notify & Notify.NEVER else "NOTIFY without FAILURE"
