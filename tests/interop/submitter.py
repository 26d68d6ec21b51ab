"""Hands letters over to a listener as a careful client does; smtplib, plus BDAT."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterable

import msgspec

from tests.interop.letters import SENDER, Letter


class Refusal(msgspec.Struct, frozen=True):
    """What a listener said instead of taking a letter."""

    at: str
    code: int
    text: str


class Submitter:
    """One session with a listener on loopback."""

    def __init__(self, port: int) -> None:
        self._client = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=30)
        self._client.ehlo()
        self.offered = frozenset(word.upper() for word in self._client.esmtp_features)

    def close(self) -> None:
        """Leave."""
        try:
            self._client.quit()
        except smtplib.SMTPServerDisconnected:
            pass

    def can_send(self, letter: Letter) -> bool:
        """Say whether the listener offers what handing over this letter needs."""
        return not (
            (letter.needs_chunking and "CHUNKING" not in self.offered)
            or (letter.smtputf8 and "SMTPUTF8" not in self.offered)
            or (letter.body and "8BITMIME" not in self.offered)
        )

    def send(self, letter: Letter) -> Refusal | None:
        """Hand over one letter; return what was said where it was refused."""
        client = self._client
        mail = f"MAIL FROM:<{SENDER}>"
        if letter.body:
            mail += f" BODY={letter.body}"
        if letter.smtputf8:
            mail += " SMTPUTF8"
        steps: Iterable[tuple[str, bytes]] = (
            ("MAIL", mail.encode()),
            ("RCPT", f"RCPT TO:<{letter.recipient}>".encode()),
        )
        for name, command in steps:
            refusal = self._say(name, command + b"\r\n", 250)
            if refusal is not None:
                client.rset()
                return refusal
        if letter.chunks and "CHUNKING" in self.offered:
            return self._bdat(letter.chunks)
        return self._data(letter)

    def _bdat(self, chunks: tuple[bytes, ...]) -> Refusal | None:
        # RFC 3030 §2: each chunk has a reply of its own.
        for place, chunk in enumerate(chunks):
            last = b" LAST" if place == len(chunks) - 1 else b""
            refusal = self._say("BDAT", b"BDAT %d%s\r\n" % (len(chunk), last) + chunk, 250)
            if refusal is not None:
                self._client.rset()
                return refusal
        return None

    def _data(self, letter: Letter) -> Refusal | None:
        refusal = self._say("DATA", b"DATA\r\n", 354)
        if refusal is not None:
            return refusal
        stuffed = re.sub(rb"(?m)^\.", b"..", letter.content)
        return self._say("content", stuffed + b".\r\n", 250)

    def _say(self, name: str, octets: bytes, wanted: int) -> Refusal | None:
        self._client.send(octets)
        code, text = self._client.getreply()
        return None if code == wanted else Refusal(name, code, text.decode("utf-8", "replace"))
