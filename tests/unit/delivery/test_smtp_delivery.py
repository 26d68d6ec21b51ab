"""Attempts over loopback against a server that plays a script."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from typing import Any

import pytest

from postroom.core.errors import ContentCorrupt
from postroom.core.message import OutcomeKind
from postroom.delivery.attempt import AttemptReport, FailureScope
from postroom.observe.events import EventList
from postroom.routing.destination import NextHop
from postroom.routing.policy import LmtpRoute, RelayHost, RelayRoute, TlsPolicy
from tests.unit.delivery.certificates import certificate
from tests.unit.delivery.scripted_server import (
    ALL,
    DROP,
    SILENT,
    ScriptedServer,
    TableResolver,
    an_agent,
    an_attempt,
    run,
)

DELIVERED, DEFERRED, FAILED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.FAILED
NO_CHUNKING = tuple(word for word in ALL if word != "CHUNKING")
DOTS = b"Subject: dots\r\n\r\n.\r\n..\r\n...a\r\nb.\r\n\r\n.end\r\n"


def kinds(report: AttemptReport) -> list[OutcomeKind]:
    return [outcome.kind for outcome in report.outcomes]


class StreamedContent:
    """Content that is not in memory, in awkward pieces."""

    def __init__(self, octets: bytes, step: int, error: Exception | None = None) -> None:
        self.octets, self.step, self.error = octets, step, error
        self.size_octets = len(octets)
        self.parts = None

    async def chunks(self) -> AsyncIterator[bytes]:
        for position in range(0, len(self.octets), self.step):
            yield self.octets[position : position + self.step]
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("capabilities", [(), ("PIPELINING",), NO_CHUNKING, ALL])
@pytest.mark.parametrize("piecewise", [False, True])
def test_content_arrives_octet_by_octet(capabilities: tuple[str, ...], piecewise: bool) -> None:
    async def test() -> None:
        async with ScriptedServer(capabilities, piecewise=piecewise).running() as server:
            agent = an_agent()
            for content in (DOTS, b"no end of line: .", b"", b"."):
                report = await agent.deliver(an_attempt(server.port, content=content))
                assert kinds(report) == [DELIVERED], report
            whole = [DOTS, b"no end of line: .", b"", b"."]
            if "CHUNKING" not in capabilities:
                # RFC 5321 §4.1.1.4: the data ends in CRLF, which is then part of it.
                whole = [DOTS, b"no end of line: .\r\n", b"", b".\r\n"]
            assert server.contents == whole
            assert len(server.sessions) == 1
            await agent.close()

    run(test)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_streamed_content_arrives_octet_by_octet(step: int) -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            content = StreamedContent(DOTS, step)
            report = await an_agent().deliver(an_attempt(server.port, content=content))
            assert kinds(report) == [DELIVERED]
            assert server.contents == [DOTS]

    run(test)


@pytest.mark.parametrize(
    ("octets", "declared"), [(DOTS, False), (b"gr\xc3\xbc\xc3\x9fe\r\n", True)]
)
def test_streamed_eight_bit_content_is_declared_where_its_sender_did_not(
    octets: bytes, declared: bool
) -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            content = StreamedContent(octets, 3)
            await an_agent().deliver(an_attempt(server.port, content=content))
            assert server.contents == [octets]
            mails = [line for line in server.lines if line.startswith("MAIL")]
            assert [" BODY=8BITMIME" in line for line in mails] == [declared]

    run(test)


def test_large_content_is_streamed_with_back_pressure() -> None:
    async def test() -> None:
        octets = b"x" * 77 + b"\r\n.y\r\n"
        octets *= 50_000
        async with ScriptedServer().running() as server:
            for content in (octets, StreamedContent(octets, 65536)):
                report = await an_agent().deliver(an_attempt(server.port, content=content))
                assert kinds(report) == [DELIVERED]
                assert server.contents.pop() == octets

    run(test)


def test_content_that_cannot_be_read_is_never_ended_with_a_dot() -> None:
    async def test() -> None:
        for error in (ContentCorrupt("checksum"), OSError(errno.EIO, "bad disk")):
            async with ScriptedServer().running() as server:
                content = StreamedContent(DOTS, 10, error)
                report = await an_agent().deliver(an_attempt(server.port, content=content))
                assert kinds(report) == [DEFERRED]
                assert report.scope is FailureScope.LOCAL
                assert server.contents == []

    run(test)


def test_each_recipient_has_its_own_outcome() -> None:
    async def test() -> None:
        answers = {"RCPT TO:<no": "550 5.1.1 unknown", "RCPT TO:<later": "450 4.2.1 busy"}
        for capabilities in ((), NO_CHUNKING, ALL):
            async with ScriptedServer(capabilities, answers).running() as server:
                attempt = an_attempt(server.port, "yes@a.test", "no@a.test", "later@a.test")
                report = await an_agent().deliver(attempt)
                assert kinds(report) == [DELIVERED, FAILED, DEFERRED]
                assert report.outcomes[1].reply.enhanced == "5.1.1"
                assert report.scope is FailureScope.RECIPIENT
                assert "unknown" in report.transcript

    run(test)


def test_a_thousand_recipients_go_in_one_transaction() -> None:
    async def test() -> None:
        addresses = [f"u{number}@a.test" for number in range(1000)]
        answers = {f"RCPT TO:<u{number}@": "550 5.1.1 no" for number in range(0, 1000, 100)}
        async with ScriptedServer(answers=answers).running() as server:
            report = await an_agent().deliver(an_attempt(server.port, *addresses))
            assert [kinds(report).count(kind) for kind in OutcomeKind] == [990, 0, 10]
            assert report.outcomes[300].kind is FAILED
            assert len(server.contents) == 1

    run(test)


def test_a_thousand_recipients_by_lmtp_have_a_reply_each() -> None:
    async def test() -> None:
        addresses = [f"u{number}@a.test" for number in range(1000)]
        answers = {"DOT": ["250 ok"] * 500 + ["452 4.2.2 full"]}
        async with ScriptedServer(answers=answers, lmtp=True).running() as server:
            route = LmtpRoute("local", f"127.0.0.1:{server.port}")
            report = await an_agent().deliver(an_attempt((), *addresses, route=route))
            assert kinds(report) == [DELIVERED] * 500 + [DEFERRED] * 500
            assert server.lines[0] == "LHLO client.test"

    run(test)


def test_lmtp_over_a_unix_socket(tmp_path: Any) -> None:
    async def test() -> None:
        server = ScriptedServer(lmtp=True)
        path = f"{tmp_path}/lmtp"
        listening = await asyncio.start_unix_server(server._serve, path)
        agent = an_agent()
        for _ in range(2):
            attempt = an_attempt((), "a@a.test", "b@a.test", route=LmtpRoute("l", f"unix:{path}"))
            report = await agent.deliver(attempt)
            assert kinds(report) == [DELIVERED, DELIVERED]
        assert len(server.sessions) == 1
        await agent.close()
        listening.close()
        (tmp_path / "lmtp").unlink(missing_ok=True)

    run(test)


@pytest.mark.parametrize(
    ("answers", "kind", "scope"),
    [
        ({"GREETING": "421 4.3.2 busy"}, DEFERRED, FailureScope.SITE),
        ({"GREETING": "554 5.7.1 go away"}, FAILED, FailureScope.SITE),
        ({"GREETING": DROP}, DEFERRED, FailureScope.SITE),
        ({"GREETING": "HTTP/1.1 400 Bad Request"}, DEFERRED, FailureScope.SITE),
        ({"EHLO": "451 later"}, DEFERRED, FailureScope.SITE),
        ({"EHLO": "550 no", "HELO": "550 no"}, FAILED, FailureScope.SITE),
        ({"MAIL": "450 4.7.1 greylisted"}, DEFERRED, FailureScope.MESSAGE),
        ({"MAIL": "550 5.7.1 no"}, FAILED, FailureScope.MESSAGE),
        ({"MAIL": "599 unheard of"}, FAILED, FailureScope.MESSAGE),
        ({"MAIL": "421 4.7.0 closing"}, DEFERRED, FailureScope.SITE),
        ({"RCPT": "450 4.2.1 later"}, DEFERRED, FailureScope.RECIPIENT),
        ({"RCPT": "551 5.1.6 moved"}, FAILED, FailureScope.RECIPIENT),
        ({"RCPT": DROP}, DEFERRED, FailureScope.SITE),
        ({"DATA": "451 4.3.0 later"}, DEFERRED, FailureScope.MESSAGE),
        ({"DATA": "554 5.6.0 no"}, FAILED, FailureScope.MESSAGE),
        ({"DOT": "451 4.3.0 later"}, DEFERRED, FailureScope.MESSAGE),
        ({"DOT": "552 5.3.4 too big"}, FAILED, FailureScope.MESSAGE),
        ({"DOT": DROP}, DEFERRED, FailureScope.MESSAGE),
        ({"DOT": "421 4.3.2 closing"}, DEFERRED, FailureScope.MESSAGE),
        ({"DOT": "250-" + "x" * 100_000}, DEFERRED, FailureScope.MESSAGE),
    ],
)
def test_what_goes_wrong_has_its_outcome_and_scope(
    answers: dict[str, Any], kind: OutcomeKind, scope: FailureScope
) -> None:
    async def test() -> None:
        async with ScriptedServer(NO_CHUNKING, answers).running() as server:
            report = await an_agent().deliver(an_attempt(server.port))
            assert (kinds(report), report.scope) == ([kind], scope), report

    run(test)


@pytest.mark.parametrize(
    ("step", "stage"),
    [("GREETING", "greeting"), ("EHLO", "EHLO"), ("MAIL", "MAIL"), ("RCPT", "RCPT"),
     ("DATA", "DATA"), ("DOT", "the message")],
)  # fmt: skip
def test_every_step_has_a_deadline(step: str, stage: str) -> None:
    async def test() -> None:
        async with ScriptedServer(NO_CHUNKING, {step: SILENT}).running() as server:
            agent = an_agent(
                greeting_s=0.02, hello_s=0.02, envelope_s=0.02, data_s=0.02, final_s=0.02
            )
            report = await agent.deliver(an_attempt(server.port))
            assert kinds(report) == [DEFERRED]
            assert "timed out" in report.outcomes[0].reply.text
            assert stage in report.outcomes[0].reply.text
            assert report.duration_s < 1

    run(test)


def test_the_whole_attempt_has_a_deadline() -> None:
    async def test() -> None:
        async with ScriptedServer(answers={"MAIL": SILENT}).running() as server:
            hops = tuple(NextHop("127.0.0.1", server.port, number) for number in range(5))
            report = await an_agent(attempt_s=0.5).deliver(an_attempt(hops))
            assert kinds(report) == [DEFERRED]
            assert report.duration_s < 5
            assert len(server.sessions) == 1

    run(test)


def test_the_next_host_is_tried_within_the_attempt() -> None:
    async def test() -> None:
        for answers in (
            {"GREETING": "554 no"}, {"GREETING": DROP}, {"EHLO": "421 no"},
            {"MAIL": "451 later"}, {"RCPT": "451 later"}, {"RCPT": DROP}, {"DATA": "451 later"},
        ):  # fmt: skip
            bad = ScriptedServer(NO_CHUNKING, answers)
            async with bad.running(), ScriptedServer().running() as good:
                hops = (NextHop("127.0.0.1", bad.port, 10), NextHop("127.0.0.1", good.port, 20))
                report = await an_agent().deliver(an_attempt(hops))
                assert kinds(report) == [DELIVERED], answers
                assert report.scope is FailureScope.NONE
                assert len(bad.sessions) == len(good.sessions) == 1

    run(test)


def test_only_deferred_recipients_go_to_the_next_host() -> None:
    async def test() -> None:
        answers = {"RCPT TO:<no": "550 5.1.1 no", "RCPT TO:<later": "450 4.2.1 busy"}
        one, two = ScriptedServer(answers=answers), ScriptedServer()
        async with one.running(), two.running():
            hops = (NextHop("127.0.0.1", one.port, 10), NextHop("127.0.0.1", two.port, 20))
            attempt = an_attempt(hops, "yes@a.test", "no@a.test", "later@a.test")
            report = await an_agent().deliver(attempt)
            assert kinds(report) == [DELIVERED, FAILED, DELIVERED]
            asked = [line for line in two.lines if line.startswith("RCPT")]
            assert asked == ["RCPT TO:<later@a.test>"]

    run(test)


def test_a_connection_lost_after_the_dot_asks_no_other_host() -> None:
    async def test() -> None:
        bad, good = ScriptedServer(NO_CHUNKING, {"DOT": DROP}), ScriptedServer()
        async with bad.running(), good.running():
            hops = (NextHop("127.0.0.1", bad.port, 10), NextHop("127.0.0.1", good.port, 20))
            assert kinds(await an_agent().deliver(an_attempt(hops))) == [DEFERRED]
            assert good.sessions == []

    run(test)


def test_one_host_that_says_never_and_one_that_is_down_defer() -> None:
    async def test() -> None:
        async with ScriptedServer(answers={"GREETING": "554 no"}).running() as server:
            hops = (NextHop("127.0.0.1", 1, 10), NextHop("127.0.0.1", server.port, 20))
            report = await an_agent().deliver(an_attempt(hops))
            assert (kinds(report), report.scope) == ([DEFERRED], FailureScope.SITE)

    run(test)


def test_every_address_of_a_host_is_tried() -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            resolver = TableResolver({"mx.test": ("::1", "127.0.0.1")})
            hops = (NextHop("mx.gone", server.port, 1), NextHop("mx.test", server.port, 2))
            report = await an_agent(resolver).deliver(an_attempt(hops))
            assert kinds(report) == [DELIVERED]
            assert report.host == f"mx.test[127.0.0.1]:{server.port}"

    run(test)


def test_a_connection_is_used_for_as_many_transactions_as_the_channel_allows() -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            agent = an_agent()
            for _ in range(5):
                attempt = an_attempt(server.port, transactions_max=2)
                assert kinds(await agent.deliver(attempt)) == [DELIVERED]
            assert [sum("MAIL" in line for line in one) for one in server.sessions] == [2, 2, 1]
            assert sum("RSET" in line for line in server.lines) == 0

    run(test)


@pytest.mark.parametrize("how", ["closed", "MAIL 421", "MAIL dropped"])
def test_a_server_that_closed_an_idle_connection_is_no_failure(how: str) -> None:
    async def test() -> None:
        answers: dict[str, Any] = {}
        if how != "closed":
            second = "421 4.4.2 idle" if how == "MAIL 421" else DROP
            answers["MAIL"] = ["250 ok", second, "250 ok"]
        async with ScriptedServer(answers=answers).running() as server:
            agent = an_agent()
            assert kinds(await agent.deliver(an_attempt(server.port))) == [DELIVERED]
            if how == "closed":
                server.drop_all()
            assert kinds(await agent.deliver(an_attempt(server.port))) == [DELIVERED]
            assert len(server.sessions) == 2

    run(test)


def test_idle_connections_are_left_after_a_while_and_at_the_end() -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            agent = an_agent(idle_s=0.02)
            await agent.deliver(an_attempt(server.port))
            await asyncio.sleep(0.06)
            assert server.lines[-1] == "QUIT"
            await agent.deliver(an_attempt(server.port))
            await agent.close()
            await asyncio.sleep(0.01)
            assert server.sessions[1][-1] == "QUIT"

    run(test)


def test_a_cancelled_attempt_leaves_no_connection() -> None:
    async def test() -> None:
        async with ScriptedServer(answers={"MAIL": SILENT}).running() as server:
            task = asyncio.create_task(an_agent().deliver(an_attempt(server.port)))
            while not any("MAIL" in line for line in server.lines):
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.01)
            assert server.writers[0].transport.is_closing()

    run(test)


def test_our_own_mistakes_defer_and_tell() -> None:
    class Broken(TableResolver):
        async def addresses(self, host: str) -> tuple[str, ...]:
            raise ZeroDivisionError("oh")

    async def test() -> None:
        events = EventList()
        report = await an_agent(Broken(), events).deliver(an_attempt(25))
        assert (kinds(report), report.scope) == ([DEFERRED], FailureScope.LOCAL)
        assert "oh" in str(events.events[0])

    run(test)


STARTTLS = (*ALL, "STARTTLS")


@pytest.mark.parametrize("mode", ["opportunistic", "require", "verify", "implicit"])
def test_tls_in_every_mode(mode: str) -> None:
    async def test() -> None:
        context, file = certificate("mx.test")
        server = ScriptedServer(STARTTLS, context=context, implicit=mode == "implicit")
        async with server.running():
            ca_file = file if mode in ("verify", "implicit") else ""
            route = RelayRoute("r", (RelayHost("mx.test"),), tls=TlsPolicy(mode, ca_file))
            agent = an_agent(TableResolver({"mx.test": ("127.0.0.1",)}))
            for _ in range(2):
                attempt = an_attempt((NextHop("mx.test", server.port),), route=route)
                report = await agent.deliver(attempt)
                assert kinds(report) == [DELIVERED], report
                assert report.tls.startswith("TLSv1")
            assert len(server.sessions) == 1
            await agent.close()

    run(test)


def test_a_certificate_for_another_name_is_refused_when_names_are_checked() -> None:
    async def test() -> None:
        context, file = certificate("other.test")
        async with ScriptedServer(STARTTLS, context=context).running() as server:
            route = RelayRoute("r", (), tls=TlsPolicy("verify", file))
            agent = an_agent(TableResolver({"mx.test": ("127.0.0.1",)}))
            attempt = an_attempt((NextHop("mx.test", server.port),), route=route)
            report = await agent.deliver(attempt)
            assert (kinds(report), report.scope) == ([DEFERRED], FailureScope.SITE)
            assert report.outcomes[0].reply.enhanced == "4.7.5"
            assert server.contents == []

    run(test)


def test_opportunistic_tls_that_fails_goes_on_in_clear_and_required_tls_does_not() -> None:
    async def test() -> None:
        for answers in ({"STARTTLS": "454 4.7.0 no"}, {"STARTTLS": "220 liar", "\x16": DROP}):
            for mode, kind in (("opportunistic", DELIVERED), ("require", DEFERRED)):
                context = certificate("mx.test")[0]
                server = ScriptedServer(STARTTLS, answers, context=context)
                if answers["STARTTLS"].startswith("220"):
                    server.context = _unusable()
                async with server.running():
                    route = RelayRoute("r", (), tls=TlsPolicy(mode))
                    report = await an_agent().deliver(an_attempt(server.port, route=route))
                    assert kinds(report) == [kind], (answers, mode, report)

    run(test)


def test_tls_that_is_required_but_not_offered_defers() -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            route = RelayRoute("r", (), tls=TlsPolicy("require"))
            report = await an_agent().deliver(an_attempt(server.port, route=route))
            assert kinds(report) == [DEFERRED]
            assert report.outcomes[0].reply.enhanced == "4.7.4"

    run(test)


def _unusable() -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # no certificate: every handshake fails
    return context


def test_auth_to_a_relay_and_a_refused_password_only_defers(tmp_path: Any) -> None:
    async def test() -> None:
        password = tmp_path / "password"
        password.write_text("geheim\n")
        route = RelayRoute("r", (), user="me", password_file=str(password))
        capabilities = (*ALL, "AUTH PLAIN LOGIN")
        async with ScriptedServer(capabilities).running() as server:
            report = await an_agent().deliver(an_attempt(server.port, route=route))
            assert kinds(report) == [DELIVERED]
            assert "AUTH PLAIN AG1lAGdlaGVpbQ==" in server.lines
        refusing = ScriptedServer(capabilities, {"AUTH": "535 5.7.8 no"})
        async with refusing.running():
            report = await an_agent().deliver(an_attempt(refusing.port, route=route))
            assert (kinds(report), report.scope) == ([DEFERRED], FailureScope.SITE)
            assert "AG1lAGdlaGVpbQ" not in report.transcript
        password.unlink()
        report = await an_agent().deliver(an_attempt(1, route=route))
        assert (kinds(report), report.scope) == ([DEFERRED], FailureScope.LOCAL)

    run(test)
