"""One message stays one: nothing in content is an end of data, here or at a host that is lax.

The receiver is lax on purpose: it takes a dot between any two line ends, bare CR and LF as well,
for the end of data, and obeys what follows, as some servers did (CVE-2023-51764 and its kin).
"""

from __future__ import annotations

import itertools
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from postroom.client.header import with_crlf
from postroom.control.tokens import Role
from postroom.core.clock import SystemClock
from postroom.core.ids import QueueIdGenerator
from postroom.core.message import Envelope, Recipient
from postroom.spool.maildrop import Maildrop
from postroom.takeover.value import with_crlf as taken_over
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http
from tests.support.stranger import RawClient
from tests.support.threaded_host import ThreadedHost

LAX_END = re.compile(rb"(?:\r\n|\r|\n)\.(?:\r\n|\r|\n)")
LINE_ENDS = (b"\r\n", b"\n", b"\r")
SMUGGLED = (
    b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<smuggled@victim.example>\r\nDATA\r\n"
    b"Subject: evil\r\n\r\n"
)


class LaxHost(ThreadedHost):
    """An SMTP server without CHUNKING; `messages` are (recipients, content) as it sees them."""

    def __init__(self) -> None:
        self.messages: list[tuple[list[bytes], bytes]] = []
        super().__init__()

    def talk(self, connection: socket.socket) -> None:
        buffer, recipients = b"", list[bytes]()
        connection.sendall(b"220 lax.example\r\n")
        while True:
            while not (found := re.search(rb"\r\n|\r|\n", buffer)):
                more = connection.recv(65536)
                if not more:
                    return
                buffer += more
            line, buffer = buffer[: found.start()], buffer[found.end() :]
            verb = line[:4].upper()
            if verb == b"RCPT":
                recipients.append(line[8:].strip(b"<>"))
            if verb == b"DATA":
                connection.sendall(b"354 go on\r\n")
                while not (end := LAX_END.search(b"\r\n" + buffer)):
                    more = connection.recv(65536)
                    if not more:
                        return
                    buffer += more
                content = buffer[: max(0, end.start() - 2)]
                buffer = buffer[end.end() - 2 :]
                self.messages.append((recipients, content))
                recipients = []
                connection.sendall(b"250 taken\r\n")
            elif verb == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            elif verb == b"EHLO":
                connection.sendall(b"250-lax.example\r\n250-8BITMIME\r\n250 PIPELINING\r\n")
            elif verb in (b"MAIL", b"RCPT", b"RSET", b"NOOP"):
                connection.sendall(b"250 fine\r\n")
            else:
                connection.sendall(b"500 what\r\n")


@pytest.fixture(scope="module")
def host() -> Iterator[LaxHost]:
    lax = LaxHost()
    yield lax
    lax.close()
    assert not [one for one in lax.messages if b"smuggled@victim.example" in one[0]]


@pytest.fixture(scope="module")
def daemon(host: LaxHost) -> Iterator[Daemon]:
    config = """
[listen.strict]
address = "127.0.0.1:0"
errors_max = 1000
[listen.lenient]
address = "127.0.0.1:0"
bare_newline = "normalise"
errors_max = 1000
[delivery]
rescan = "1s"
"""
    with Daemon(relay=host.port, queues=1, config=CONSOLE + config) as running:
        yield running


def forms() -> list[bytes]:
    """Return every content with something in it that somebody took for an end of data."""
    between = [
        before + b"." + after + SMUGGLED
        for before, after in itertools.product(LINE_ENDS, LINE_ENDS)
        if (before, after) != (b"\r\n", b"\r\n")
    ]
    odd = [
        b"\r\r\n.\r\r\n", b"\n\r\n.\n\r\n", b"\r\n.\r\r\n", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n",
        b"\n.\r", b"\r.\n", b"\n\n.\n\n", b"\r\n \n.\n", b"\n..\n", b"\r..\r",
    ]  # fmt: skip
    return [*between, *(one + SMUGGLED for one in odd)]


def begin(client: RawClient, recipient: str) -> None:
    assert client.say(b"MAIL FROM:<a@b.example>")[:3] == b"250"
    assert client.say(f"RCPT TO:<{recipient}>".encode())[:3] == b"250"


def port_of(daemon: Daemon, strict: bool) -> int:
    ports = list(daemon.ports.values())
    return ports[0] if strict else ports[1]


def the_one(daemon: Daemon, host: LaxHost, recipient: str) -> bytes:
    """Return the content of the only message for a recipient, once it has come."""

    def found() -> list[bytes]:
        return [content for to, content in list(host.messages) if to == [recipient.encode()]]

    daemon.wait_until(lambda: bool(found()), 60, recipient)
    [content] = found()
    return content


def test_bare_line_ends_in_data_are_refused_and_what_follows_is_content(daemon: Daemon) -> None:
    with RawClient.greeted(("127.0.0.1", port_of(daemon, True))) as client:
        for form in forms():
            begin(client, "one@x.example")
            assert client.say(b"DATA")[:3] == b"354"
            client.send(b"Subject: x\r\n\r\nbody" + form + b"\r\n.\r\nNOOP\r\n")
            # One reply for the content, one for NOOP, none for what stood inside.
            assert client.hear()[:3] in (b"550", b"250"), form
            assert client.hear() == b"250 2.0.0 OK\r\n", form
    # Of bare CR and LF nothing is taken; a NUL is no line end, and content like any other.
    accepted = sum(b"\x00" in one for one in forms())
    assert len(daemon.events("accepted")) <= accepted


def test_normalised_content_is_one_message_for_a_lax_host(daemon: Daemon, host: LaxHost) -> None:
    with RawClient.greeted(("127.0.0.1", port_of(daemon, False))) as client:
        for number, form in enumerate(forms()):
            begin(client, f"normal{number}@x.example")
            assert client.say(b"DATA")[:3] == b"354"
            client.send(b"Subject: x\r\n\r\nbody" + form + b"\r\n.\r\n")
            assert client.hear()[:3] == b"250", form
    for number, form in enumerate(forms()):
        content = the_one(daemon, host, f"normal{number}@x.example")
        assert b"Subject: evil" in content, form
        assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")


def test_chunks_may_hold_an_end_of_data_and_go_out_stuffed(daemon: Daemon, host: LaxHost) -> None:
    content = b"Subject: x\r\n\r\nbody\r\n.\r\n" + SMUGGLED + b".\r\n\r\n..\r\n.\r\n"
    with RawClient.greeted(("127.0.0.1", port_of(daemon, True))) as client:
        begin(client, "chunks@x.example")
        # Cut in the middle of what looks like the end.
        for cut in (len(b"Subject: x\r\n\r\nbody\r\n"), len(b"Subject: x\r\n\r\nbody\r\n.\r")):
            begin_at, rest = content[:cut], content[cut:]
            client.send(b"BDAT %d\r\n" % len(begin_at) + begin_at)
            assert client.hear()[:3] == b"250"
            client.send(b"BDAT %d LAST\r\n" % len(rest) + rest)
            assert client.hear()[:3] == b"250"
            if cut == len(b"Subject: x\r\n\r\nbody\r\n"):
                begin(client, "again@x.example")
        for form in forms():
            begin(client, "two@x.example")
            octets = b"Subject: x\r\n\r\nbody" + form
            client.send(b"BDAT %d LAST\r\n" % len(octets) + octets)
            if b"\x00" not in form:
                assert client.hear()[:3] == b"550", form
            else:
                client.hear()
    for name in ("chunks", "again"):
        wire = the_one(daemon, host, f"{name}@x.example")
        assert wire.endswith(content.replace(b"\r\n.", b"\r\n..").removesuffix(b"\r\n"))


def test_by_http_sendmail_and_maildrop_as_well(daemon: Daemon, host: LaxHost) -> None:
    user = Http.of(daemon, Role.INJECTOR)
    evil = SMUGGLED.decode()
    for number, (before, after) in enumerate(itertools.product(LINE_ENDS, LINE_ENDS)):
        text = "body" + before.decode() + "." + after.decode() + evil
        for kind in ("text", "html"):
            body = {"from": "a@b.example", "to": [f"{kind}{number}@x.example"], kind: text}
            reply = user.ask("POST", "/messages", body)
            assert reply.status in (202, 422), reply.body
            if reply.status == 202:
                the_one(daemon, host, f"{kind}{number}@x.example")
        mime = b"Subject: x\r\n\r\nbody" + before + b"." + after + SMUGGLED
        query = {"from": "a@b.example", "to": f"mime{number}@x.example"}
        reply = user.ask("POST", "/messages", mime, {"Content-Type": "message/rfc822"}, query)
        assert reply.status in (202, 400, 422), reply.body
        if reply.status == 202:
            the_one(daemon, host, f"mime{number}@x.example")
        command = [sys.executable, "-m", "postroom", "--config", str(daemon.file), "sendmail", "-i"]
        if number % 3 == 1:  # each takes a process of its own
            subprocess.run(
                [*command, "-f", "a@b.example", f"sendmail{number}@x.example"],
                input=b"Subject: x\n\nbody" + before + b"." + after + SMUGGLED, check=True,
                env=daemon.environment, timeout=60,
            )  # fmt: skip
            the_one(daemon, host, f"sendmail{number}@x.example")


def test_what_a_program_left_in_the_maildrop_is_made_whole_lines(
    daemon: Daemon, host: LaxHost
) -> None:
    ids = QueueIdGenerator(random.Random(7))
    for number, form in enumerate(forms()):
        envelope = Envelope("a@b.example", (Recipient(f"drop{number}@x.example"),))
        queue_id = ids.next(SystemClock().now() + number)
        drop = Maildrop(daemon.base / "spool")
        drop.leave(queue_id, envelope, b"Subject: x\r\n\r\nbody" + form, "somebody")
    for number, form in enumerate(forms()):
        content = the_one(daemon, host, f"drop{number}@x.example")
        assert b"Subject: evil" in content, form
        assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize("whole", [with_crlf, taken_over], ids=["sendmail", "import"])
def test_content_of_files_is_made_whole_lines(whole: object) -> None:
    assert callable(whole)
    for form in forms():
        content = whole(b"Subject: x\n\nbody" + form)
        assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
        assert content.endswith(b"\r\n")
