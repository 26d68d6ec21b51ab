"""What must become of each letter, and whether it did.

Content is identical when, below the trace fields that hosts put on top, it is what was sent,
octet by octet. RFC 5321 §4.4; what a host without 8BITMIME or SMTPUTF8 gets: RFC 6152 §3, RFC
6531 §3.2.
"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterable, Mapping

import msgspec

from tests.interop.combination import Combination
from tests.interop.letters import TOKEN, Letter
from tests.interop.peer import Fate

# What hosts add: RFC 5321 §4.4, and what maildirs are given about the envelope.
TRACE = frozenset((
    b"received", b"return-path", b"delivered-to", b"x-original-to", b"envelope-to",
    b"x-peer", b"x-mailfrom", b"x-rcptto",
))  # fmt: skip
_FIELD = re.compile(rb"([!-9;-~]+):(?:[^\r]|\r\n[ \t])*\r\n")
_STATUS = re.compile(rb"(?im)^Status: *([245]\.\d+\.\d+)")
_WORDS_KEPT = 160


class Mail(msgspec.Struct, frozen=True):
    """What arrived at one place, with CRLF line ends; `is_report` at the sender's home."""

    octets: bytes
    is_report: bool = False


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not as it must be."""

    token: str
    text: str

    def __str__(self) -> str:
        return f"{self.token}: {self.text}"


def our_fate(kind: str, combination: Combination) -> tuple[Fate, str]:
    """Return what we must do with a letter where the next hop offers this.

    Content is never converted, so what a host does not take is returned (RFC 6152 §3). 8-bit
    content that nobody declared goes as it came.
    """
    if "SMTPUTF8" not in combination:
        # RFC 6531 §3.5: X.6.7 is about addresses, X.6.9 about the header.
        if kind == "utf8-address":
            return Fate.RETURNED, "5.6.7"
        if kind == "utf8-header":
            return Fate.RETURNED, "5.6.9"
    if "8BITMIME" not in combination and kind in ("eight-bit", "large-eight-bit", "utf8-header"):
        return Fate.RETURNED, "5.6.3"
    return Fate.DELIVERED, ""


class Verdict(msgspec.Struct):
    """What came of one round."""

    sent: int = 0
    delivered: int = 0
    converted: int = 0
    returned: int = 0
    differences: list[Difference] = msgspec.field(default_factory=list)

    def differs(self, token: str, text: str) -> None:
        """Note a difference."""
        self.differences.append(Difference(token, text))

    def judge(
        self,
        letters: Iterable[Letter],
        mail: Iterable[Mail],
        fates: Mapping[str, tuple[Fate, str]],
        refusals: Mapping[str, str],
    ) -> None:
        """Hold all that arrived against what was sent."""
        by_token: dict[str, list[Mail]] = {}
        for one in mail:
            found = TOKEN.search(one.octets)
            by_token.setdefault(found[1].decode() if found else "(unknown)", []).append(one)
        for letter in letters:
            self.sent += 1
            token = letter.token
            fate, status = fates[token]
            arrived = by_token.pop(token, [])
            if fate is Fate.REFUSED or token in refusals:
                text = self._refused(arrived, refusals.get(token, ""), fate, status)
            else:
                text = self._one(letter, arrived, fate, status)
            if text:
                self.differs(token, text)
        for token in by_token:
            self.differs(token, "nobody sent this")

    def _one(self, letter: Letter, mail: list[Mail], fate: Fate, status: str) -> str:
        if len(mail) != 1:
            return f"arrived {len(mail)} times, {fate.value} was due"
        [one] = mail
        if fate is Fate.RETURNED:
            return self._returned(one, status)
        if one.is_report:
            return f"returned ({_status(one.octets)}), {fate.value} was due"
        if fate is Fate.CONVERTED:
            return self._converted(one, letter)
        text = difference(one.octets, letter.arriving)
        self.delivered += not text
        return text

    def _refused(self, arrived: list[Mail], said: str, fate: Fate, status: str) -> str:
        if fate is not Fate.REFUSED:
            return f"refused when it was handed over ({said}), {fate.value} was due"
        if arrived or status not in said:
            return f"arrived {len(arrived)} times, the reply was {said!r}, {status} was due"
        self.returned += 1
        return ""

    def _returned(self, one: Mail, status: str) -> str:
        if not one.is_report:
            return f"delivered, but a report with {status} was due"
        said = _status(one.octets)
        if said != status:
            return f"the report says {said}, {status} was due"
        self.returned += 1
        return ""

    def _converted(self, one: Mail, letter: Letter) -> str:
        """Compare what is meant: the body, decoded."""
        arrived = email.message_from_bytes(one.octets, policy=email.policy.SMTP)
        sent = email.message_from_bytes(letter.arriving, policy=email.policy.SMTP)
        if arrived["Content-Transfer-Encoding"] == sent["Content-Transfer-Encoding"]:
            return "not converted, as it was due"
        if arrived.get_payload(decode=True) != sent.get_payload(decode=True):
            return "the converted body is another one"
        self.converted += 1
        return ""


def _status(report: bytes) -> str:
    found = _STATUS.search(report)
    return found[1].decode() if found else "no status"


def without_trace(octets: bytes) -> bytes:
    """Return mail without the trace fields of its header."""
    place, kept = 0, []
    while found := _FIELD.match(octets, place):
        if found[1].lower() not in TRACE:
            kept.append(found[0])
        place = found.end()
    return b"".join(kept) + octets[place:]


def difference(arrived: bytes, sent: bytes) -> str:
    """Say where they differ, apart from trace fields; "" where they do not."""
    bare = without_trace(arrived)
    if bare == sent:
        return ""
    end = min(len(bare), len(sent))
    place = next((i for i in range(end) if bare[i] != sent[i]), end)
    start = max(0, place - 20)
    return (
        f"differs at octet {place}: sent {sent[start : place + 40]!r}, "
        f"arrived {bare[start : place + 40]!r} ({len(sent)} and {len(bare)} octets)"
    )[: _WORDS_KEPT * 2]
