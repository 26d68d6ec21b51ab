"""ESMTP parameters of MAIL and RCPT.

Owns which keywords exist and what their values may be: SIZE (RFC 1870), BODY (RFC 6152),
SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY and ORCPT (RFC 3461), AUTH (RFC 4954). What a
message's terms are about is only gathered here; smtp.server_terms reads it.

Guarantees: decoded values hold no control character, so they are safe in a header.
Called by: smtp.server_transaction.  Raises: ReplyError with the reply to give.
"""

from __future__ import annotations

import msgspec

from postroom.core.errors import ReplyError
from postroom.core.message import Notify
from postroom.core.reply import Reply
from postroom.smtp.server_terms import KEYWORDS
from postroom.smtp.xtext import decode_orcpt, decode_xtext

# RFC 3461 §4.4: ENVID is at most 100 characters; §4.2: ORCPT at most 500.
ENVID_MAX = 100
ORCPT_MAX = 500
# RFC 1870 §4: a size value has at most 20 digits.
_SIZE_DIGITS_MAX = 20
_NOTIFY = {
    "SUCCESS": int(Notify.SUCCESS),
    "FAILURE": int(Notify.FAILURE),
    "DELAY": int(Notify.DELAY),
}


class MailParameters(msgspec.Struct, frozen=True, gc=False):
    """What MAIL said beside the reverse-path; `size_octets` 0 where it was not given.

    `asked` are the parameters about terms, by keyword; None where there is none.
    """

    size_octets: int = 0
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    asked: dict[str, str] | None = None


NO_MAIL_PARAMETERS = MailParameters()


def parse_mail_parameters(text: str) -> MailParameters:
    """Return the parameters of MAIL."""
    if not text:
        return NO_MAIL_PARAMETERS
    size_octets, eight_bit, smtputf8, ret, envid = 0, False, False, "", ""
    asked: dict[str, str] | None = None
    for keyword, value in _pairs(text):
        match keyword:
            case "SIZE":
                size_octets = _size(value)
            case "BODY":
                eight_bit = _body(value)
            case "SMTPUTF8":
                # RFC 6531 §3.4: the parameter has no value.
                if value is not None:
                    raise _bad(keyword)
                smtputf8 = True
            case "RET":
                ret = _required(keyword, value).upper()
                if ret not in ("FULL", "HDRS"):
                    raise _bad(keyword)
            case "ENVID":
                envid = _xtext(keyword, value, ENVID_MAX)
            case "AUTH":
                # RFC 4954 §5: who sent it first is checked for syntax and, since clients
                # are not trusted to say so, otherwise taken as unknown.
                _xtext(keyword, value, ORCPT_MAX)
            case _:
                if keyword not in KEYWORDS:
                    raise _unknown(keyword)
                asked = {**(asked or {}), keyword: _required(keyword, value)}
    return MailParameters(size_octets, eight_bit, smtputf8, ret, envid, asked)


def parse_rcpt_parameters(text: str, smtputf8: bool) -> tuple[int, str]:
    """Return (NOTIFY flags, ORCPT decoded) of RCPT; (0, "") where nothing was given."""
    notify, orcpt = 0, ""
    for keyword, value in _pairs(text):
        match keyword:
            case "NOTIFY":
                notify = _notify(_required(keyword, value))
            case "ORCPT":
                orcpt = _orcpt(_required(keyword, value), smtputf8)
            case _:
                raise _unknown(keyword)
    return notify, orcpt


def _pairs(text: str) -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = []
    seen = set()
    for word in text.split():
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        # RFC 3461 §4.1 and RFC 1870 §4: a parameter stands at most once.
        if keyword in seen:
            raise _bad(keyword)
        seen.add(keyword)
        pairs.append((keyword, value if equals else None))
    return pairs


def _size(value: str | None) -> int:
    digits = _required("SIZE", value)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _SIZE_DIGITS_MAX):
        raise _bad("SIZE")
    return int(digits)


def _body(value: str | None) -> bool:
    kind = _required("BODY", value).upper()
    # RFC 6152 §3: BINARYMIME (RFC 3030) is not offered, so it is an unknown value.
    if kind not in ("7BIT", "8BITMIME"):
        raise _bad("BODY")
    return kind == "8BITMIME"


def _notify(value: str) -> int:
    # RFC 3461 §4.1: NEVER stands alone, or a list of the three others.
    if value.upper() == "NEVER":
        return int(Notify.NEVER)
    flags = 0
    for word in value.upper().split(","):
        flag = _NOTIFY.get(word)
        if flag is None:
            raise _bad("NOTIFY")
        flags |= flag
    return flags


def _orcpt(value: str, smtputf8: bool) -> str:
    # RFC 6533 §3: characters outside US-ASCII as they are only in an SMTPUTF8 transaction.
    if len(value) > ORCPT_MAX or not (smtputf8 or value.isascii()):
        raise _bad("ORCPT")
    try:
        decoded = decode_orcpt(value)
    except ValueError:
        raise _bad("ORCPT") from None
    return _printable("ORCPT", decoded)


def _xtext(keyword: str, value: str | None, length_max: int) -> str:
    encoded = _required(keyword, value)
    if len(encoded) > length_max:
        raise _bad(keyword)
    try:
        return _printable(keyword, decode_xtext(encoded))
    except ValueError:
        raise _bad(keyword) from None


def _printable(keyword: str, decoded: str) -> str:
    # RFC 3461 §4.4: what xtext hides must be printable; a hidden CRLF would end up as a
    # header of its own in a DSN.
    if not decoded.isprintable():
        raise _bad(keyword)
    return decoded


def _required(keyword: str, value: str | None) -> str:
    if not value:
        raise _bad(keyword)
    return value


def _bad(keyword: str) -> ReplyError:
    return ReplyError(Reply(501, "5.5.4", f"Bad or repeated parameter {keyword[:40]}"))


def _unknown(keyword: str) -> ReplyError:
    # RFC 5321 §4.1.1.11: 555 for a parameter that is not recognised.
    return ReplyError(Reply(555, "5.5.4", f"Unknown parameter {keyword[:40]}"))
