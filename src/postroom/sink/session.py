"""One connection to a sink.

An SMTP server of its own, independent of smtp/, so that client and sink cannot share a
misunderstanding. Octets go in at `data_received`; replies to all that arrived together go
out together. While a rule makes the session wait, nothing is read.

Owns one connection and its buffer.  Called by: the event loop, for sink.server.
Raises: nothing.  RFC 5321, RFC 2920.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

from postroom.sink.behaviour import Behaviour, Verdict
from postroom.sink.counters import Counters
from postroom.sink.recorder import Received, Recorder

# RFC 5321 §4.5.3.1.4: 512 octets, and more where extensions add parameters.
COMMAND_LINE_MAX = 4096
RECIPIENTS_MAX = 10_000
"""Bounds memory; RFC 5321 §4.5.3.1.8 asks for at least 100."""

_PATH = re.compile(rb"(?:FROM|TO):\s*<([^>]*)>\s*(.*)\Z", re.I | re.S)
_END = b"\r\n.\r\n"


class SinkSession(asyncio.Protocol):
    """The receiving end of one connection."""

    __slots__ = (
        "_acts_at", "_at_end", "_behaviour", "_buffer", "_client", "_closed", "_content",
        "_counters", "_greeting", "_handlers", "_helo", "_in_content", "_loop", "_mail",
        "_messages", "_out", "_parameters", "_recipient_parameters", "_recipients", "_recorder",
        "_refusals", "_size_octets", "_transport", "_waiting",
    )  # fmt: skip

    def __init__(
        self,
        behaviour: Behaviour,
        counters: Counters,
        recorder: Recorder | None,
        at_end: Callable[[SinkSession], None],
    ) -> None:
        self._behaviour = behaviour
        self._counters = counters
        self._recorder = recorder
        self._at_end = at_end
        self._acts_at = behaviour.acts_at
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._out: list[bytes] = []
        self._client = ""
        self._helo = ""
        self._in_content = False
        self._waiting: asyncio.TimerHandle | None = None
        self._closed = False
        self._messages = 0
        self._reset()
        self._handlers: dict[bytes, Callable[[bytes], bool]] = {
            b"EHLO": self._ehlo, b"HELO": self._helo_command, b"MAIL": self._mail_command,
            b"RCPT": self._rcpt, b"DATA": self._data, b"RSET": self._rset,
            b"NOOP": self._noop, b"QUIT": self._quit, b"VRFY": self._vrfy,
        }  # fmt: skip

    def _reset(self) -> None:
        self._mail: str | None = None
        self._parameters = ""
        self._recipients: list[str] = []
        self._recipient_parameters: list[str] = []
        self._content: list[bytes] = []
        self._size_octets = 0

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client, or refuse it."""
        # uvloop's transports have the methods of asyncio.Transport, not its class.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        counters = self._counters
        counters.connections += 1
        counters.open += 1
        counters.open_max = max(counters.open_max, counters.open)
        site = self._behaviour.site
        if site.connections_max and counters.open > site.connections_max:
            self._say(b"421 4.7.0 Too many connections")
            self._end()
            return
        self._answer("connect", self._client, f"220 {site.hostname} ESMTP Postroom sink".encode())
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._closed = True
        self._counters.open -= 1
        self._at_end(self)

    def data_received(self, data: bytes) -> None:
        """Take octets and answer what is complete."""
        self._buffer = self._buffer + data if self._buffer else data
        if self._waiting is None:
            self._proceed()

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # Reading.

    def _proceed(self) -> None:
        """Handle what the buffer holds until it is empty, or we wait, or it ends."""
        going = True
        while going and self._buffer and not self._closed:
            going = self._read_content() if self._in_content else self._read_command()
        self._flush()

    def _read_command(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > COMMAND_LINE_MAX:
                self._counters.errors += 1
                self._say(b"500 5.5.2 Line too long")
                self._end()
            return False
        line = self._buffer[:end].rstrip(b"\r")
        self._buffer = self._buffer[end + 1 :]
        handler = self._handlers.get(line[:4].upper())
        if handler is None:
            self._counters.errors += 1
            return self._say(b"500 5.5.2 Command not recognised")
        return handler(line[5:])

    def _read_content(self) -> bool:
        """Take content up to the end of data.

        The buffer starts with the two octets that came before (CR LF after DATA), so that a
        dot on the first line is found as well.
        """
        buffer = self._buffer
        end = buffer.find(_END)
        keep = self._recorder is not None or self._behaviour.site.strict
        if end < 0:
            # All but what may be the start of the end is content.
            taken = len(buffer) - (len(_END) - 1)
            if taken > 0:
                if keep:
                    self._content.append(buffer[:taken])
                self._size_octets += taken
                self._buffer = buffer[taken:]
            return False
        self._buffer = buffer[end + len(_END) :]
        # Counted with the CR LF at its end and without the two octets before it.
        self._size_octets += end
        if keep:
            self._content.append(buffer[: end + 2])
        self._in_content = False
        return self._content_complete()

    # Commands. Each returns whether reading may go on.

    def _ehlo(self, argument: bytes) -> bool:
        self._reset()
        self._helo = argument.decode("ascii", "replace")
        site = self._behaviour.site
        lines = [site.hostname, f"SIZE {site.size_limit_octets}", *site.extensions]
        text = "\r\n".join(f"250-{line}" for line in lines[:-1]) + f"\r\n250 {lines[-1]}"
        return self._answer("ehlo", self._helo, text.encode("ascii"))

    def _helo_command(self, argument: bytes) -> bool:
        self._reset()
        self._helo = argument.decode("ascii", "replace")
        return self._answer("ehlo", self._helo, f"250 {self._behaviour.site.hostname}".encode())

    def _mail_command(self, argument: bytes) -> bool:
        path = _PATH.match(argument)
        if not self._helo or self._mail is not None or path is None:
            self._counters.errors += 1
            code = (
                b"501 5.5.4 Syntax: MAIL FROM:<address>" if path is None else b"503 5.5.1 Not now"
            )
            return self._say(code)
        site = self._behaviour.site
        if site.messages_max and self._messages >= site.messages_max:
            # RFC 5321 §3.8: 421 announces that we close.
            self._say(b"421 4.7.0 Enough messages on this connection")
            self._end()
            return False
        size = re.search(rb"(?:^|\s)SIZE=(\d+)", path[2], re.I)
        # RFC 1870 §6.1: refused as soon as the announced size is known.
        if size and int(size[1]) > site.size_limit_octets:
            return self._say(b"552 5.3.4 Message too big")
        self._mail = path[1].decode("utf-8", "replace")
        self._parameters = path[2].decode("utf-8", "replace")
        return self._answer("mail", self._mail, b"250 2.1.0 Ok", on_refusal=self._reset)

    def _rcpt(self, argument: bytes) -> bool:
        path = _PATH.match(argument)
        if self._mail is None or path is None:
            self._counters.errors += 1
            code = (
                b"501 5.5.4 Syntax: RCPT TO:<address>" if path is None else b"503 5.5.1 MAIL first"
            )
            return self._say(code)
        if len(self._recipients) >= RECIPIENTS_MAX:
            return self._say(b"452 4.5.3 Too many recipients")
        recipient = path[1].decode("utf-8", "replace")
        self._recipients.append(recipient)
        self._recipient_parameters.append(path[2].decode("utf-8", "replace"))
        return self._answer("rcpt", recipient, b"250 2.1.5 Ok", on_refusal=self._drop_recipient)

    def _drop_recipient(self) -> None:
        self._recipients.pop()
        self._recipient_parameters.pop()
        self._counters.refused += 1

    def _data(self, argument: bytes) -> bool:
        if not self._recipients:
            self._counters.errors += self._mail is None
            return self._say(
                b"503 5.5.1 RCPT first" if self._mail is None else b"554 5.5.1 No valid recipients"
            )
        self._in_content = True
        self._size_octets = 0
        self._buffer = b"\r\n" + self._buffer
        return self._answer(
            "data", self._mail or "", b"354 End with <CR><LF>.<CR><LF>", on_refusal=self._no_content
        )

    def _no_content(self) -> None:
        self._in_content = False
        self._buffer = self._buffer[2:]
        self._reset()

    def _content_complete(self) -> bool:
        site = self._behaviour.site
        if self._size_octets > site.size_limit_octets:
            self._reset()
            return self._say(b"552 5.3.4 Message too big")
        if site.strict and _bare_newline(b"".join(self._content)):
            self._counters.errors += 1
            self._reset()
            return self._say(b"550 5.6.11 Bare CR or LF in content")
        return self._answer(
            "content", self._mail or "", b"250 2.0.0 Ok: taken", on_acceptance=self._take
        )

    def _take(self) -> None:
        """Count and keep the message that has just arrived."""
        counters = self._counters
        counters.messages += 1
        counters.recipients += len(self._recipients)
        counters.octets += self._size_octets
        counters.last_at = self._loop.time()
        if counters.messages == 1:
            counters.first_at = counters.last_at
        self._messages += 1
        if self._recorder is not None:
            # RFC 5321 §4.5.2: a dot that starts a line is taken away.
            content = b"".join(self._content).replace(b"\r\n.", b"\r\n")[2:]
            self._recorder.keep(
                Received(
                    self._behaviour.site.name, counters.messages, counters.last_at,
                    self._client, self._helo, self._mail or "", self._parameters,
                    tuple(self._recipients), tuple(self._recipient_parameters),
                    len(content), content.decode("latin-1"),
                )
            )  # fmt: skip

    def _rset(self, argument: bytes) -> bool:
        self._reset()
        return self._say(b"250 2.0.0 Ok")

    def _noop(self, argument: bytes) -> bool:
        return self._say(b"250 2.0.0 Ok")

    def _vrfy(self, argument: bytes) -> bool:
        return self._say(b"252 2.1.5 Send some mail")

    def _quit(self, argument: bytes) -> bool:
        self._answer("quit", "", b"221 2.0.0 Bye", then_end=True)
        return False

    # Answering.

    def _answer(
        self,
        command: str,
        subject: str,
        usual: bytes,
        *,
        on_refusal: Callable[[], None] | None = None,
        on_acceptance: Callable[[], None] | None = None,
        then_end: bool = False,
    ) -> bool:
        """Answer as the rules say, `usual` without one; return whether reading goes on."""
        if command not in self._acts_at:
            verdict = None
        else:
            triple = (self._client, self._mail or "", subject)
            verdict = self._behaviour.decide(command, subject, triple, self._loop.time())
        if verdict is not None and verdict.delay_s > 0:
            self._flush()
            assert self._transport is not None
            self._transport.pause_reading()
            self._waiting = self._loop.call_later(
                verdict.delay_s, self._after_wait, verdict, command, usual,
                on_refusal, on_acceptance, then_end,
            )  # fmt: skip
            return False
        return self._carry_out(verdict, command, usual, on_refusal, on_acceptance, then_end)

    def _after_wait(
        self,
        verdict: Verdict,
        command: str,
        usual: bytes,
        on_refusal: Callable[[], None] | None,
        on_acceptance: Callable[[], None] | None,
        then_end: bool,
    ) -> None:
        self._waiting = None
        assert self._transport is not None
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        if self._carry_out(verdict, command, usual, on_refusal, on_acceptance, then_end):
            self._proceed()
        else:
            self._flush()

    def _carry_out(
        self,
        verdict: Verdict | None,
        command: str,
        usual: bytes,
        on_refusal: Callable[[], None] | None,
        on_acceptance: Callable[[], None] | None,
        then_end: bool,
    ) -> bool:
        if verdict is not None and verdict.drop:
            self._counters.dropped += 1
            self._closed = True
            self.close()
            return False
        reply = usual
        if verdict is not None and verdict.reply is not None:
            reply = verdict.reply.encode("ascii")
            self._counters.count_reply(verdict.reply[:3])
        # RFC 5321 §4.2.1: the first digit says what it is.
        if reply[:1] in b"23":
            if on_acceptance is not None:
                on_acceptance()
        elif on_refusal is not None:
            on_refusal()
        if command == "content":
            self._reset()
        self._say(reply)
        if then_end or reply.startswith(b"421") or (command == "connect" and reply[:1] != b"2"):
            self._end()
            return False
        return True

    def _say(self, reply: bytes) -> bool:
        self._out.append(reply)
        return True

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._out.append(b"")
            self._transport.write(b"\r\n".join(self._out))
            self._out.clear()

    def _end(self) -> None:
        self._flush()
        self._closed = True
        if self._transport is not None:
            self._transport.close()


def _bare_newline(content: bytes) -> bool:
    pairs = content.count(b"\r\n")
    return content.count(b"\n") != pairs or content.count(b"\r") != pairs
