"""Qmail's queue: one file for each thing about a message, all with the number of the message.

`mess` is the content, `info` the sender, `local` and `remote` the recipients, each marked T (to
do) or D (done). Before its preprocessing a message has `todo` instead, with sender and recipients.
Each entry in these files ends in a zero octet. A sender that ends in -@[] asks for VERP; #@[]
is that of a double bounce.

Pure: octets in, a value out.
Called by: takeover.source.  Raises: Unreadable.
"""

from __future__ import annotations

from postroom.core.message import Recipient
from postroom.takeover.value import RECIPIENTS_MAX, Foreign, Unreadable, text_of, with_crlf

_VERP = "-@[]"
_DOUBLE_BOUNCE = "#@[]"


def parse(content: bytes, envelope: tuple[bytes, ...], name: str, arrived_at: float) -> Foreign:
    """Return the message of `mess` and of `todo`, or of `info`, `local` and `remote`."""
    reverse_path: str | None = None
    recipients: list[Recipient] = []
    done = 0
    for octets in envelope:
        for mark, value in _entries(octets):
            match mark:
                case b"F":
                    reverse_path = text_of(value, "the sender")
                case b"T":
                    recipients.append(Recipient(text_of(value, "a recipient")))
                case b"D":
                    done += 1
                case b"u" | b"p":
                    pass  # who queued it
                case _:
                    raise Unreadable(f"no entry of qmail: {(mark + value)[:40]!r}")
            if len(recipients) > RECIPIENTS_MAX:
                raise Unreadable(f"more than {RECIPIENTS_MAX} recipients")
    if reverse_path is None:
        raise Unreadable("no sender")
    verp = ""
    if reverse_path == _DOUBLE_BOUNCE:
        reverse_path = ""
    elif reverse_path.endswith(_VERP):
        # list-@host-@[] becomes list-user=there@host for user@there.
        local, _, host = reverse_path.removesuffix(_VERP).rpartition("@")
        if local.endswith("-"):
            reverse_path, verp = f"{local[:-1]}@{host}", "-="
    return Foreign(
        name=name,
        arrived_at=arrived_at,
        reverse_path=reverse_path,
        recipients=tuple(recipients),
        content=with_crlf(content),
        done=done,
        verp=verp,
    )


def _entries(octets: bytes) -> list[tuple[bytes, bytes]]:
    """Return (mark, value) of each entry."""
    if not octets:
        return []
    *entries, rest = octets.split(b"\0")
    if rest or not all(entries):
        raise Unreadable("cut short: an entry does not end")
    return [(entry[:1], entry[1:]) for entry in entries]
