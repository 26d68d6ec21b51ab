"""One transaction of the SMTP client: what is sent, and what came back.

Owns the wire form of the envelope, the choice between DATA and BDAT, and the replies per
recipient. A transaction is used once: another host gets a new one.

Guarantees: 1. nothing is sent that the server did not offer.  2. every line of the
envelope is one command: an address cannot bring a second one along.  3. content sent after
DATA is dot-stuffed and ends in CRLF.
Called by: smtp.client, delivery.  Raises: nothing; what cannot be sent is a Failure.
RFC 5321 §4.1.1, RFC 1870, RFC 2920, RFC 3030, RFC 3461, RFC 6152, RFC 6531,
RFC 6710, RFC 2852.
"""

from __future__ import annotations

from postroom.core.message import Envelope, Notify, Recipient
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.core.terms import Terms
from postroom.smtp.client_capabilities import Capabilities
from postroom.smtp.client_states import Cause, Failure, Stage
from postroom.smtp.xtext import encode_orcpt, encode_xtext

BDAT_OCTETS_MAX = 64 * 1024
"""Content up to this size goes by BDAT in one write with the envelope.

That saves a round trip, and costs the sending of content in vain where every recipient is
refused; above this size, that cost is the greater risk.
"""

INLINE_OCTETS_MAX = 256 * 1024
"""Content in memory up to this size is written at once; above it, the driver streams it."""


BY_MAX_S = 999_999_999


class Transaction:
    """Envelope and content of one transaction, and the replies to it.

    `parts` is the content where it is in memory, else None and the driver streams it.
    `seven_bit` says that the content was found to be US-ASCII, where the driver looked.
    After the transaction, `failure` concerns all recipients that `rcpt_replies` accepted
    (or all, if it came before them); else `final_replies` has one reply for the message,
    or in LMTP one for each accepted recipient.
    """

    __slots__ = (
        "accepted", "by_left_s", "deadline_dropped", "dsn_passed_on", "envelope", "failure",
        "final_replies", "parts", "rcpt_replies", "seven_bit", "size_octets",
    )  # fmt: skip

    def __init__(
        self,
        envelope: Envelope,
        size_octets: int,
        parts: tuple[bytes, ...] | None,
        seven_bit: bool | None = None,
    ) -> None:
        self.envelope = envelope
        self.size_octets = size_octets
        self.parts = parts
        self.seven_bit = seven_bit
        self.rcpt_replies: list[Reply] = []
        self.accepted = 0
        self.final_replies: list[Reply] = []
        self.failure: Failure | None = None
        self.dsn_passed_on = False
        self.by_left_s: float | None = None
        """The time that is left for delivery; None: as long as it takes, or it ends here."""
        self.deadline_dropped = False

    def is_seven_bit(self) -> bool:
        """Say whether the content is known to be US-ASCII; reads it at most once."""
        if self.seven_bit is None:
            parts = self.parts
            self.seven_bit = parts is not None and all(part.isascii() for part in parts)
        return self.seven_bit

    def needs_smtputf8(self) -> bool:
        """Say whether address or header need RFC 6531.

        A message that was sent with SMTPUTF8 but holds nothing but US-ASCII does not.
        """
        if not self._has_ascii_addresses():
            return True
        if not self.envelope.smtputf8 or self.is_seven_bit():
            return False
        if self.parts is None or self.size_octets > INLINE_OCTETS_MAX:
            return True
        header = b"".join(self.parts).partition(b"\r\n\r\n")[0]
        return not header.isascii()

    def _has_ascii_addresses(self) -> bool:
        envelope = self.envelope
        return envelope.reverse_path.isascii() and all(
            [recipient.address.isascii() for recipient in envelope.recipients]
        )

    def unsuitable(self, offered: Capabilities) -> Failure | None:
        """Return why this mail cannot go to a server that offers this, or None."""
        if 0 < offered.size_octets_max < self.size_octets:
            # RFC 1870 §6.1: the client need not ask where the answer is known.
            return _refusal(
                552, "5.3.4",
                f"message of {self.size_octets} octets is larger than the host takes "
                f"({offered.size_octets_max})",
            )  # fmt: skip
        if not offered.smtputf8 and self.needs_smtputf8():
            # RFC 6531 §3.2: what needs SMTPUTF8 must not go to a server without it, and is
            # returned. §3.5 has a code for addresses and one for the header.
            if not self._has_ascii_addresses():
                return _refusal(553, "5.6.7", "the host does not take internationalised addresses")
            return _refusal(554, "5.6.9", "the host does not take internationalised headers")
        if self.envelope.eight_bit and not offered.eight_bit and not self.is_seven_bit():
            # RFC 6152 §3: a client converts to 7 bit or returns the mail. Conversion would
            # rewrite content that we promised to pass on octet by octet (and break its
            # signatures), so it is returned. Many clients declare 8BITMIME for US-ASCII:
            # that goes as it is. Eight-bit content that nobody declared goes as it came.
            return _refusal(554, "5.6.3", "the host does not take 8-bit content")
        return None if self.by_left_s is None else self._too_late(offered, self.by_left_s)

    def _too_late(self, offered: Capabilities, left_s: float) -> Failure | None:
        terms = self.envelope.terms
        if terms is None or terms.by_mode != "R":
            return None
        if not offered.deliver_by:
            # RFC 2852 §4: mail that must be returned when it is late does not go to a host that
            # cannot promise that. RFC 3463 §3.4: 5.3.3, not capable of selected features.
            return _refusal(554, "5.3.3", "the host takes no mail with a deadline (DELIVERBY)")
        if left_s < max(1, offered.deliver_by_min_s):
            text = f"{max(0, int(left_s))} s are left, the host needs {offered.deliver_by_min_s}"
            return _refusal(554, "5.4.7", f"it cannot be delivered in time: {text}")
        return None

    def commands(self, offered: Capabilities) -> list[str]:
        """Return MAIL and each RCPT, with the parameters that the server offers."""
        envelope = self.envelope
        mail = f"MAIL FROM:<{envelope.reverse_path}>"
        if offered.size:
            mail += f" SIZE={self.size_octets}"
        # RFC 6152 §3: 8-bit content is declared, by us where its sender did not. Where nobody has
        # looked at content that is not in memory, the sender's word counts.
        is_known = self.parts is not None or self.seven_bit is not None
        if offered.eight_bit and (envelope.eight_bit or (is_known and not self.is_seven_bit())):
            mail += " BODY=8BITMIME"
        # RFC 6531 §3.4: not for mail that is known to be US-ASCII; for the rest the sender's
        # word counts, because a part of the message may have such a header as well.
        if offered.smtputf8 and (
            (envelope.smtputf8 and not self.is_seven_bit()) or not self._has_ascii_addresses()
        ):
            mail += " SMTPUTF8"
        terms = envelope.terms
        if terms is not None and terms.priority and offered.mt_priority:
            mail += f" MT-PRIORITY={terms.priority}"
        if terms is not None and self.by_left_s is not None:
            mail += self._by(terms, offered, self.by_left_s)
        if not offered.dsn:
            return [mail, *[f"RCPT TO:<{one.address}>" for one in envelope.recipients]]
        self.dsn_passed_on = True
        if envelope.ret:
            mail += f" RET={envelope.ret}"
        if envelope.envid:
            mail += f" ENVID={encode_xtext(envelope.envid)}"
        return [mail, *[_rcpt_with_dsn(recipient) for recipient in envelope.recipients]]

    def _by(self, terms: Terms, offered: Capabilities, left_s: float) -> str:
        if not offered.deliver_by:
            self.deadline_dropped = True
            return ""
        # RFC 2852 §4: what is left of the time; it may be over where the mode is N.
        seconds = max(-BY_MAX_S, min(BY_MAX_S, int(left_s)))
        return f" BY={seconds};{terms.by_mode}{'T' if terms.by_trace else ''}"

    def stuffed(self) -> bytes:
        """Return content in memory as it goes on the wire after DATA, with the final dot."""
        assert self.parts is not None
        stuffer = DotStuffer()
        stuffed = stuffer.stuff(b"".join(self.parts))
        return stuffed + stuffer.end()


class DotStuffer:
    """RFC 5321 §4.5.2: transparency, over pieces of content in order.

    A dot is doubled after every LF, also one that lacks its CR, and after every bare CR: stored
    content has none, but if it had, no server could be made to see the end of data in it.
    """

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def stuff(self, piece: bytes) -> bytes:
        """Return `piece` with its leading dots doubled."""
        if not piece:
            return piece
        stuffed = piece.replace(b"\n.", b"\n..")
        if b"\r." in stuffed:
            stuffed = stuffed.replace(b"\r.", b"\r..")
        if piece[0] == 0x2E and self._tail[-1] in b"\r\n":
            stuffed = b"." + stuffed
        self._tail = piece[-2:] if len(piece) > 1 else self._tail[-1:] + piece
        return stuffed

    def end(self) -> bytes:
        """Return what ends the data: a dot on a line of its own."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"


def _rcpt_with_dsn(recipient: Recipient) -> str:
    command = f"RCPT TO:<{recipient.address}>"
    notify = recipient.notify
    if notify:
        # RFC 3461 §4.1: NEVER stands alone.
        if notify & Notify.NEVER:
            command += " NOTIFY=NEVER"
        else:
            words = [
                word
                for flag, word in (
                    (Notify.SUCCESS, "SUCCESS"),
                    (Notify.FAILURE, "FAILURE"),
                    (Notify.DELAY, "DELAY"),
                )
                if notify & flag
            ]
            command += f" NOTIFY={','.join(words)}"
    if recipient.orcpt:
        command += f" ORCPT={encode_orcpt(recipient.orcpt)}"
    return command


def _refusal(code: int, enhanced: str, text: str) -> Failure:
    return Failure(Stage.MAIL, Cause.UNSUITABLE, Reply(code, EnhancedStatusCode(enhanced), text))


def encode_commands(commands: list[str]) -> bytes | None:
    """Return commands as octets, or None where one of them would be more than one line."""
    block = "\r\n".join(commands).encode("utf-8", "surrogateescape") + b"\r\n"
    # Intake refuses control characters in addresses. This holds whatever it let pass.
    if block.count(b"\n") != len(commands) or block.count(b"\r") != len(commands):
        return None
    return None if b"\0" in block else block
