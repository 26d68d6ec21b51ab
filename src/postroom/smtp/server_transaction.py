"""One mail transaction of a server session: from MAIL to its envelope.

Owns reverse-path, parameters and recipients while they come in.

Guarantees: recipients <= `recipients_max`; an address outside US-ASCII only where the
transaction is SMTPUTF8.
Called by: smtp.server.  Raises: ReplyError with the reply to give.
RFCs: RFC 5321 §3.3, RFC 1870 §6.1, RFC 6531 §3.
"""

from __future__ import annotations

from postroom.core.errors import ReplyError
from postroom.core.message import Envelope, Recipient
from postroom.core.reply import Reply
from postroom.core.terms import Terms
from postroom.smtp.server_data import TOO_BIG
from postroom.smtp.server_parameters import (
    MailParameters,
    parse_mail_parameters,
    parse_rcpt_parameters,
)
from postroom.smtp.syntax import parse_mail_argument, parse_rcpt_argument

# RFC 6531 §3.5: an address outside US-ASCII without SMTPUTF8 is refused with 5.6.7, and 550
# where MAIL brought it, 553 where RCPT did.
_SENDER_NEEDS_SMTPUTF8 = Reply(550, "5.6.7", "Address outside US-ASCII needs SMTPUTF8")
_RECIPIENT_NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "Address outside US-ASCII needs SMTPUTF8")
# RFC 5321 §4.5.3.1.10: 452 for too many recipients; the sender splits the message.
_TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")


class Transaction:
    """A transaction that MAIL opened."""

    __slots__ = ("_parameters", "_recipients", "_recipients_max", "reverse_path", "terms")

    def __init__(self, reverse_path: str, parameters: MailParameters, recipients_max: int) -> None:
        self.reverse_path = reverse_path
        self._parameters = parameters
        self._recipients: list[Recipient] = []
        self._recipients_max = recipients_max
        self.terms: Terms | None = None
        """What was agreed beside delivery."""

    @classmethod
    def open(cls, argument: str, size_max: int, recipients_max: int) -> Transaction:
        """Return the transaction that "MAIL argument" asks for."""
        reverse_path, text = parse_mail_argument(argument)
        parameters = parse_mail_parameters(text)
        if not parameters.smtputf8 and not argument.isascii():
            raise ReplyError(_SENDER_NEEDS_SMTPUTF8)
        # RFC 1870 §6.1: a size that is announced too big is refused at once.
        if parameters.size_octets > size_max:
            raise ReplyError(TOO_BIG)
        return cls(reverse_path, parameters, recipients_max)

    @property
    def size_octets(self) -> int:
        """The announced size, 0 where none was."""
        return self._parameters.size_octets

    @property
    def asked(self) -> dict[str, str] | None:
        """The terms that MAIL asks for, None where there are none."""
        return self._parameters.asked

    @property
    def smtputf8(self) -> bool:
        """True where MAIL had SMTPUTF8."""
        return self._parameters.smtputf8

    def recipient(self, argument: str) -> Recipient:
        """Return the recipient that "RCPT argument" names; nothing is kept yet."""
        address, text = parse_rcpt_argument(argument)
        smtputf8 = self._parameters.smtputf8
        if not smtputf8 and not argument.isascii():
            raise ReplyError(_RECIPIENT_NEEDS_SMTPUTF8)
        if len(self._recipients) >= self._recipients_max:
            raise ReplyError(_TOO_MANY_RECIPIENTS)
        if not text:
            return Recipient(address)
        notify, orcpt = parse_rcpt_parameters(text, smtputf8)
        return Recipient(address, notify, orcpt)

    def add(self, recipient: Recipient) -> None:
        """Keep a recipient that was accepted."""
        self._recipients.append(recipient)

    def envelope(self) -> Envelope:
        """Return the envelope."""
        parameters = self._parameters
        return Envelope(
            self.reverse_path,
            tuple(self._recipients),
            parameters.ret,
            parameters.envid,
            parameters.eight_bit,
            parameters.smtputf8,
            self.terms,
        )
