"""Sessions over loopback, with the transport, TLS and deadlines that belong to them."""

from __future__ import annotations

import asyncio
import contextlib
import email
import os
import smtplib
import socket
import ssl
import struct
from collections.abc import Coroutine

import pytest
import uvloop

from postroom.core.errors import ConfigurationError, ReplyError
from postroom.core.reply import Reply
from postroom.ingress.addresses import bind
from postroom.ingress.policy import ListenPolicy
from postroom.ingress.users import make_user_line
from postroom.observe.events import Defect, SessionRefused
from tests.support.certificate import make_certificate
from tests.unit.ingress_support import MemoryAcceptor, serving

CONTENT = b"From: a@example.org\r\nSubject: hi\r\n\r\nbody\r\n.dot\r\n"


def run(work: Coroutine[object, object, None], *, loop: str = "asyncio") -> None:
    factory = uvloop.new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    directory = tmp_path_factory.mktemp("tls")
    file, key = make_certificate("mx.example.org", elliptic=True).save(directory)
    return str(file), str(key)


@pytest.fixture(scope="module")
def users_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("users") / "users"
    path.write_text(make_user_line("anna", "s3cret") + "\n")
    path.chmod(0o600)
    return str(path)


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_smtplib_delivers_and_one_received_header_is_added(loop: str) -> None:
    async def scene() -> None:
        async with serving() as served:

            def send() -> None:
                with smtplib.SMTP("127.0.0.1", served.port, timeout=5) as client:
                    client.sendmail("a@example.org", ["b@example.net"], CONTENT)
                    client.sendmail("a@example.org", ["b@x.example", "c@x.example"], CONTENT)

            await asyncio.to_thread(send)
            first, second = served.acceptor.kept
            queue_id, envelope, content, provenance = first
            assert content.endswith(CONTENT)
            header = email.message_from_bytes(content)["Received"]
            assert f"with ESMTP id {queue_id}" in header
            assert "([127.0.0.1])" in header
            assert "for <b@example.net>;" in header
            assert header.endswith("Tue, 14 Nov 2023 22:13:20 +0000")
            assert provenance.protocol == "ESMTP"
            assert envelope.recipients[0].address == "b@example.net"
            assert b"for <" not in second[2]
            assert served.listeners.intake_octets_used == 0

    run(scene(), loop=loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_starttls_and_authentication(
    loop: str, certificate: tuple[str, str], users_file: str
) -> None:
    async def scene() -> None:
        async with serving(
            tls="starttls", tls_certificate=certificate[0], tls_key=certificate[1],
            auth_users=users_file, relay_from=(),
        ) as served:  # fmt: skip

            def send() -> None:
                with smtplib.SMTP("127.0.0.1", served.port, timeout=5) as client:
                    client.ehlo()
                    assert not client.has_extn("auth")
                    client.starttls(context=trusting())
                    with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
                        client.login("anna", "wrong")
                    assert wrong.value.smtp_code == 535
                    with pytest.raises(smtplib.SMTPAuthenticationError):
                        client.login("nobody", "s3cret", initial_response_ok=False)
                with smtplib.SMTP("127.0.0.1", served.port, timeout=5) as client:
                    client.starttls(context=trusting())
                    client.login("anna", "s3cret")
                    big = b"x: y\r\n\r\n" + b"0123456789\r\n" * 50_000
                    client.sendmail("a@example.org", ["b@example.net"], big)

            await asyncio.to_thread(send)
            [(_, _, content, provenance)] = served.acceptor.kept
            assert len(content) > 600_000
            assert (provenance.protocol, provenance.user) == ("ESMTPSA", "anna")
            assert not any("s3cret" in str(event) for event in served.events.events)

    run(scene(), loop=loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_implicit_tls_behind_a_proxy_header_in_one_segment(
    loop: str, certificate: tuple[str, str]
) -> None:
    async def scene() -> None:
        async with serving(
            tls="implicit", tls_certificate=certificate[0], tls_key=certificate[1],
            proxy_protocol=("127.0.0.1",), relay_from=("192.0.2.0/24",),
        ) as served:  # fmt: skip

            def send() -> None:
                raw = socket.create_connection(("127.0.0.1", served.port), 5)
                outgoing, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = trusting().wrap_bio(incoming, outgoing)
                with contextlib.suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
                raw.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 9 25\r\n" + outgoing.read())
                seen = b""
                while b"220 " not in seen:
                    incoming.write(raw.recv(65536))
                    with contextlib.suppress(ssl.SSLWantReadError):
                        tls.do_handshake()
                        raw.sendall(outgoing.read())
                        seen += tls.read(4096)
                    if data := outgoing.read():
                        raw.sendall(data)
                tls.write(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n")
                raw.sendall(outgoing.read())
                while raw.recv(65536):
                    pass
                raw.close()

            await asyncio.to_thread(send)
            [(_, _, _, provenance)] = served.acceptor.kept
            assert provenance.client == "192.0.2.7"
            assert provenance.protocol == "ESMTPS"

    run(scene(), loop=loop)


def test_commands_sent_behind_starttls_in_the_clear_are_ignored(
    certificate: tuple[str, str],
) -> None:
    async def scene() -> None:
        async with serving(
            tls="starttls", tls_certificate=certificate[0], tls_key=certificate[1]
        ) as served:
            talk = await served.connect()
            await talk.reply()
            await talk.ask("EHLO c")
            talk.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@x>\r\n")
            assert (await talk.reply()).startswith("220 ")
            await talk.writer.start_tls(trusting())
            assert (await talk.ask("MAIL FROM:<>")).startswith("503 ")
            talk.close()

    run(scene())


def test_a_failed_handshake_ends_that_session_alone(certificate: tuple[str, str]) -> None:
    async def scene() -> None:
        async with serving(
            tls="starttls", tls_certificate=certificate[0], tls_key=certificate[1]
        ) as served:
            talk = await served.connect()
            await talk.reply()
            await talk.ask("EHLO c")
            await talk.ask("STARTTLS")
            talk.send(b"this is no ClientHello\r\n" * 10)
            while await talk.reader.read(4096):
                pass
            assert isinstance(served.events.events[-1], SessionRefused)
            assert (await (await served.connect()).reply()).startswith("220 ")

    run(scene())


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_stop_during_a_handshake_ends_the_session(tls: str, certificate: tuple[str, str]) -> None:
    async def scene() -> None:
        async with serving(
            tls=tls, tls_certificate=certificate[0], tls_key=certificate[1]
        ) as served:
            talk = await served.connect()
            if tls == "starttls":
                await talk.reply()
                await talk.ask("EHLO c")
                await talk.ask("STARTTLS")
            while not served.listeners.session_count:
                await asyncio.sleep(0.001)
            await asyncio.wait_for(served.listeners.stop(0.02), 1)
            assert await talk.reader.read() == b""
            assert not any(isinstance(event, Defect) for event in served.events.events)

    run(scene())


def proxy_v2(address: bytes, family: int) -> bytes:
    body = address + bytes(len(address)) + struct.pack("!HH", 5, 25)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes((0x21, family)) + struct.pack("!H", len(body)) + body


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 9 25\r\n", "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 9 25\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (proxy_v2(socket.inet_aton("192.0.2.8"), 0x11), "192.0.2.8"),
        (proxy_v2(socket.inet_pton(socket.AF_INET6, "2001:db8::9"), 0x21), "2001:db8::9"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "127.0.0.1"),
    ],
)
def test_a_proxy_names_its_client(header: bytes, client: str) -> None:
    async def scene() -> None:
        networks = ("127.0.0.1", "192.0.2.0/24", "2001:db8::/32")
        async with serving(proxy_protocol=("127.0.0.0/8",), relay_from=networks) as served:
            talk = await served.connect()
            for at in range(len(header)):
                talk.send(header[at : at + 1])
                await asyncio.sleep(0)
            assert (await talk.reply()).startswith("220 ")
            talk.send(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n")
            for _ in range(4):
                await talk.reply()
            assert (await talk.ask("hello\r\n.")).startswith("250 ")
            assert served.acceptor.kept[0][3].client == client
            talk.close()

    run(scene())


@pytest.mark.parametrize(
    "header", [b"EHLO c\r\n", b"PROXY TCP4 x y 1 2\r\n", b"PROXY " + b"x" * 200, b"\r\nx"]
)
def test_who_must_speak_the_proxy_protocol_must(header: bytes) -> None:
    async def scene() -> None:
        async with serving(proxy_protocol=("127.0.0.1",)) as served:
            talk = await served.connect()
            talk.send(header)
            assert await talk.reader.read() == b""

    run(scene())


def test_nothing_is_answered_before_the_message_is_durable() -> None:
    async def scene() -> None:
        async with serving(MemoryAcceptor(waiting=True)) as served:
            talk = await served.connect()
            await talk.reply()
            talk.send(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n")
            for _ in range(4):
                await talk.reply()
            talk.send(b"hello\r\n.\r\nNOOP\r\n")
            while not served.acceptor.kept:
                await asyncio.sleep(0.001)
            assert served.listeners.intake_octets_used == 7
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.reader.readline(), 0.02)
            served.acceptor.commit()
            assert (await talk.reply()).startswith("250 2.0.0 ")
            assert (await talk.reply()).startswith("250 2.0.0 OK")
            assert served.listeners.intake_octets_used == 0
            talk.close()

    run(scene())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("behind", [b"", b"QUIT\r\n"])
def test_a_client_that_half_closes_gets_its_replies(loop: str, behind: bytes) -> None:
    async def scene() -> None:
        async with serving(MemoryAcceptor(waiting=True)) as served:
            talk = await served.connect()
            await talk.reply()
            mail = b"MAIL FROM:<>\r\nRCPT TO:<b@x>\r\n"
            talk.send(b"EHLO c\r\n" + mail + b"DATA\r\n")
            for _ in range(4):
                await talk.reply()
            # Two messages, so that the second is decided when the end was seen long ago.
            talk.send(b"hello\r\n.\r\n" + mail + b"BDAT 7 LAST\r\nhello\r\n" + behind)
            talk.writer.write_eof()
            while not served.acceptor.kept:
                await asyncio.sleep(0.001)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.reader.readline(), 0.02)
            served.acceptor.commit()
            assert (await talk.reply()).startswith("250 2.0.0 ")
            for _ in range(2):
                assert (await talk.reply()).startswith("250 2.1.")
            while len(served.acceptor.kept) < 2:
                await asyncio.sleep(0.001)
            served.acceptor.commit()
            assert (await talk.reply()).startswith("250 2.0.0 ")
            if behind:
                assert (await talk.reply()).startswith("221 ")
            assert await talk.reply() == "", "and then the connection ends"
            while served.listeners.session_count:
                await asyncio.sleep(0.001)
            talk.close()

    run(scene(), loop=loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_says_goodbye_over_tls_gets_its_reply(
    loop: str, certificate: tuple[str, str]
) -> None:
    async def scene() -> None:
        async with serving(
            MemoryAcceptor(waiting=True), tls="implicit", tls_certificate=certificate[0],
            tls_key=certificate[1],
        ) as served:  # fmt: skip

            def send() -> bytes:
                with (
                    socket.create_connection(("127.0.0.1", served.port), timeout=5) as plain,
                    trusting().wrap_socket(plain, suppress_ragged_eofs=False) as client,
                ):
                    client.sendall(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nBDAT 7 LAST\r\n")
                    client.sendall(b"hello\r\n")
                    plain_fd = socket.socket(fileno=os.dup(client.fileno()))
                    with plain_fd:
                        plain_fd.shutdown(socket.SHUT_WR)
                    said = b""
                    while piece := client.recv(4096):
                        said += piece
                    return said

            answer = asyncio.create_task(asyncio.to_thread(send))
            while not served.acceptor.kept:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            served.acceptor.commit()
            assert b"queued\r\n" in await answer

    run(scene(), loop=loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_sends_without_end_is_told_why_and_cut(loop: str) -> None:
    async def scene() -> None:
        async with serving(size_limit_octets=100_000) as served:

            def send() -> bytes:
                with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
                    client.sendall(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n")
                    lines = (b"x" * 998 + b"\r\n") * 1000
                    with contextlib.suppress(OSError):
                        # More than is read after the limit; then a moment longer.
                        for _ in range(70):
                            client.sendall(lines)
                        client.shutdown(socket.SHUT_WR)
                    said = b""
                    while piece := client.recv(4096):
                        said += piece
                    return said

            said = await asyncio.to_thread(send)
            assert b"552 5.3.4 " in said and b"\r\n421 4.7.0 " in said
            while served.listeners.session_count:
                await asyncio.sleep(0.001)
            assert served.listeners.intake_octets_used == 0 and not served.acceptor.kept

    run(scene(), loop=loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_half_closes_between_messages_is_let_go(loop: str) -> None:
    async def scene() -> None:
        async with serving() as served:
            talk = await served.connect()
            talk.send(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nhello\r\n")
            talk.writer.write_eof()
            while await talk.reply():
                pass
            while served.listeners.session_count:
                await asyncio.sleep(0.001)
            assert not served.acceptor.kept
            talk.close()

    run(scene(), loop=loop)


def test_memory_is_given_back_when_the_client_leaves_before_the_commit() -> None:
    async def scene() -> None:
        async with serving(MemoryAcceptor(waiting=True)) as served:
            talk = await served.connect()
            talk.send(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nhello\r\n.\r\n")
            while not served.acceptor.kept:
                await asyncio.sleep(0.001)
            sock = talk.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            talk.writer.transport.abort()
            while served.listeners.session_count:
                await asyncio.sleep(0.001)
            assert served.listeners.intake_octets_used == 7
            served.acceptor.commit()
            await asyncio.sleep(0.001)
            assert served.listeners.intake_octets_used == 0

    run(scene())


@pytest.mark.parametrize(
    ("failure", "code"),
    [(ReplyError(Reply(452, "4.3.1", "Disk full")), "452 4.3.1"), (ValueError("x"), "451 4.3.0")],
)
def test_a_message_that_is_not_kept_is_not_accepted(failure: Exception, code: str) -> None:
    async def scene() -> None:
        async with serving() as served:
            served.acceptor.failure = failure
            talk = await served.connect()
            talk.send(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nhello\r\n.\r\n")
            for _ in range(5):
                await talk.reply()
            assert (await talk.reply()).startswith(code)
            defects = [event for event in served.events.events if isinstance(event, Defect)]
            assert bool(defects) is isinstance(failure, ValueError)
            talk.close()

    run(scene())


def test_sessions_are_bounded_in_total_and_per_client() -> None:
    async def scene() -> None:
        async with serving(sessions_max=2) as served:
            first, second = await served.connect(), await served.connect()
            await first.reply()
            await second.reply()
            third = await served.connect()
            assert (await third.reply()).startswith("421 4.3.2")
            assert await third.reply() == ""
            assert (await first.ask("QUIT")).startswith("221")
            while served.listeners.session_count > 1:
                await asyncio.sleep(0.001)
            assert (await (await served.connect()).reply()).startswith("220")
        async with serving(sessions_per_client_max=1) as served:
            await (await served.connect()).reply()
            assert (await (await served.connect()).reply()).startswith("421 4.7.0")

    run(scene())


def test_idle_and_long_sessions_end() -> None:
    async def scene() -> None:
        async with serving(idle_timeout_s=0.04) as served:
            talk = await served.connect()
            await talk.reply()
            assert (await talk.reply()).startswith("421 4.4.2 Idle")
            assert await talk.reply() == ""
        async with serving(session_timeout_s=0.04) as served:
            talk = await served.connect()
            await talk.reply()
            assert (await talk.reply()).startswith("421 4.4.2 Session")

    run(scene())


def test_a_client_that_reads_nothing_is_not_read_from() -> None:
    async def scene() -> None:
        async with serving(errors_max=10**9) as served:
            talk = await served.connect()
            talk.writer.transport.set_write_buffer_limits(0)
            talk.reader._transport.pause_reading()  # type: ignore[attr-defined]
            [session] = served.listeners._listeners["smtp"].sessions
            for _ in range(100):
                talk.send(b"HELP\r\n" * 10_000)
                await asyncio.sleep(0)
                if session._paused:
                    break
            assert session._paused
            unread = session._transport.get_write_buffer_size()  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
            assert session._transport.get_write_buffer_size() <= unread < 8_000_000  # type: ignore[union-attr]
            talk.writer.transport.abort()

    run(scene())


def test_stop_lets_a_transaction_finish() -> None:
    async def scene() -> None:
        async with serving() as served:
            busy, idle = await served.connect(), await served.connect()
            await busy.reply()
            await idle.reply()
            busy.send(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n")
            for _ in range(4):
                await busy.reply()
            stop = asyncio.create_task(served.listeners.stop(5.0))
            assert (await idle.reply()).startswith("421 4.3.2")
            busy.send(b"hello\r\n.\r\n")
            assert (await busy.reply()).startswith("250 ")
            assert (await busy.reply()).startswith("421 4.3.2")
            await asyncio.wait_for(stop, 1)
            assert served.listeners.session_count == 0

    run(scene())


def test_stop_cuts_what_outlasts_its_deadline() -> None:
    async def scene() -> None:
        async with serving() as served:
            busy = await served.connect()
            busy.send(b"EHLO c\r\nMAIL FROM:<>\r\n")
            for _ in range(3):
                await busy.reply()
            await asyncio.wait_for(served.listeners.stop(0.02), 1)
            assert (await busy.reply()).startswith("421 4.3.2")
            assert await busy.reply() == ""

    run(scene())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_accepting_pauses_and_resumes(loop: str) -> None:
    async def scene() -> None:
        async with serving() as served:
            served.listeners.pause()
            await asyncio.sleep(0)
            talk = await served.connect()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.reader.readline(), 0.02)
            await served.listeners.resume()
            assert (await talk.reply()).startswith("220 ")
            talk.close()

    run(scene(), loop=loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_where_descriptors_would_run_out_new_clients_wait_until_one_leaves(loop: str) -> None:
    async def scene() -> None:
        async with serving(connections_max=3) as served:
            first = [await served.connect() for _ in range(3)]
            for talk in first:
                assert (await talk.reply()).startswith("220 ")
            waiting = [await served.connect() for _ in range(2)]
            for talk in waiting:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(talk.reader.readline(), 0.02)
            first.pop().close()
            assert (await waiting[0].reply()).startswith("220 ")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting[1].reader.readline(), 0.02)
            served.listeners.limit_connections(4)
            assert (await waiting[1].reply()).startswith("220 ")
            served.listeners.limit_connections(1)
            served.listeners.pause()
            for talk in (*first, *waiting):
                talk.close()
            while served.listeners.session_count:
                await asyncio.sleep(0.001)
            late = await served.connect()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(late.reader.readline(), 0.02)
            await served.listeners.resume()
            assert (await late.reply()).startswith("220 ")
            late.close()

    run(scene(), loop=loop)


def test_a_reload_is_for_new_sessions_and_changes_all_or_nothing() -> None:
    async def scene() -> None:
        async with serving() as served:
            old = await served.connect()
            await old.reply()
            served.listeners.reload([ListenPolicy(hostname="new.example", relay_from=())])
            assert (await (await served.connect()).reply()).startswith("220 new.example")
            old.send(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\n")
            for _ in range(2):
                await old.reply()
            assert (await old.reply()).startswith("250 ")
            with pytest.raises(ConfigurationError):
                served.listeners.reload(
                    [ListenPolicy(hostname="x"), ListenPolicy(name="b", relay_from=("nonsense",))]
                )
            assert (await (await served.connect()).reply()).startswith("220 new.example")

    run(scene())


def test_xclient_takes_relaying_away() -> None:
    async def scene() -> None:
        async with serving(xclient=("127.0.0.1",)) as served:
            talk = await served.connect()
            await talk.reply()
            await talk.ask("EHLO c")
            assert (await talk.ask("XCLIENT ADDR=203.0.113.5 LOGIN=[UNAVAILABLE]")).startswith(
                "220"
            )
            await talk.ask("EHLO c")
            await talk.ask("MAIL FROM:<>")
            assert (await talk.ask("RCPT TO:<b@x>")).startswith("550 5.7.1")
            talk.close()

    run(scene())


def test_too_little_intake_memory_is_452() -> None:
    async def scene() -> None:
        async with serving(intake_octets=1_000) as served:
            talk = await served.connect()
            await talk.reply()
            await talk.ask("EHLO c")
            assert (await talk.ask("MAIL FROM:<> SIZE=2000")).startswith("452 4.3.1")

    run(scene())


def test_bind_names_the_address_it_cannot_have() -> None:
    sockets = bind(ListenPolicy(address=("127.0.0.1:0",)))
    taken = sockets[0].getsockname()[1]
    with pytest.raises(OSError, match=f"127.0.0.1:{taken}"):
        bind(ListenPolicy(address=(f"127.0.0.1:{taken}",)))
    with pytest.raises(OSError, match="not an address"):
        bind(ListenPolicy(address=("example.org:25",)))
    sockets[0].close()
