"""Nobody relays without permission, in any form that ever worked somewhere.

A real server on an address that is not loopback, a stranger as its client, and one that may relay,
so that what is refused is refused for want of permission. In the end nothing was taken.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from postroom.control.tokens import Role
from postroom.ingress.users import make_user_line
from tests.support.daemon import Daemon
from tests.support.http import Http
from tests.support.sink import SinkThread
from tests.support.stranger import SAYS_ROOT, RawClient, outer_address, unchecked
from tests.unit.delivery.certificates import certificate

USER, PASSWORD = "ann", "correct horse 4"


class Town(NamedTuple):
    """A server, where it listens, and from where a stranger and a friend come."""

    daemon: Daemon
    sink: SinkThread
    here: tuple[str, int]
    stranger: str
    friend: tuple[str, int]

    def stranger_greeted(self, helo: str = "there") -> RawClient:
        return RawClient.greeted(self.here, self.stranger, helo)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    # Without a network of its own a machine has other loopback addresses to be a stranger from.
    outer = outer_address() or "127.0.0.2"
    stranger = outer_address() or "127.0.0.3"
    users = tmp_path_factory.mktemp("relay") / "users"
    users.write_text(make_user_line(USER, PASSWORD) + "\n")
    users.chmod(0o600)
    _, pem = certificate("test.example")
    Path(pem).chmod(0o600)
    config = f"""
[listen.smtp]
address = ["{outer}:0", "127.0.0.1:0"]
relay_from = ["127.0.0.1"]
proxy_protocol = ["127.0.0.9"]
xclient = ["127.0.0.8"]
tls_certificate = "{pem}"
tls_key = "{pem}"
auth_users = "{users}"
errors_max = 1000
[console]
address = ["127.0.0.1:0", "{outer}:0"]
behind_proxy = true
{SAYS_ROOT}"""
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=config) as daemon:
        ports = {text.rpartition(":")[0]: port for text, port in daemon.ports.items()}
        town = Town(
            daemon, sink, (outer, ports[outer]), stranger, ("127.0.0.1", ports["127.0.0.1"])
        )
        yield town
        # Whatever was tried: only what the friend sends now is taken, and goes out.
        before = len(sink.messages)
        with RawClient.greeted(town.friend) as friend:
            assert friend.say(b"MAIL FROM:<a@b.example>")[:3] == b"250"
            assert friend.say(b"RCPT TO:<friend@victim.example>")[:3] == b"250"
            assert friend.say(b"DATA")[:3] == b"354"
            assert friend.say(b"Subject: x\r\n\r\ny\r\n.")[:3] == b"250"
        sink.wait_for(lambda messages: len(messages) > before)
        assert sink.recipients == ["friend@victim.example"]
        daemon.wait_for_event("delivered")
        assert len(daemon.events("accepted")) == 1


RECIPIENTS = [
    # What relays once took apart and sent on: percent, bang, source routes, quotes.
    "<user%victim.example@test.example>",
    "<user%victim.example@[127.0.0.1]>",
    "<user%victim.example@localhost>",
    "<user%victim.example>",
    "<victim.example!user>",
    "<victim.example!user@test.example>",
    "<test.example!victim.example!user>",
    "<@test.example:user@victim.example>",
    "<@test.example,@localhost:user@victim.example>",
    "<@[127.0.0.1]:user@victim.example>",
    "<@test.example:user%victim.example@localhost>",
    '<"user@victim.example"@test.example>',
    '<"user@victim.example">',
    '<"user%victim.example"@localhost>',
    '<"user\\@victim.example"@test.example>',
    "<user@victim.example@test.example>",
    "<user@test.example@victim.example>",
    "<user:user@victim.example>",
    # Names that are ours, or that mean this machine.
    "<user@test.example>",
    "<user@TEST.EXAMPLE.>",
    "<user@localhost>",
    "<user@localhost.localdomain>",
    "<user@[127.0.0.1]>",
    "<user@[IPv6:::1]>",
    "<user@[IPv6:::ffff:127.0.0.1]>",
    "<user@127.0.0.1>",
    "<postmaster>",
    "<Postmaster>",
    "<postmaster@test.example>",
    "<postmaster@[127.0.0.1]>",
    "<abuse@test.example>",
    # Others, plainly and as addresses.
    "<user@victim.example>",
    "<user@victim.example.>",
    "<user@VICTIM.example>",
    "<user@[198.51.100.9]>",
    "<user@[IPv6:2001:db8::9]>",
    "<user@[IPv6:::ffff:198.51.100.9]>",
    "<user@198.51.100.9>",
    "<user@3325256713>",
    "<user@[0xc6.0x33.0x64.0x09]>",
    # Brackets, empty parts, spaces.
    "user@victim.example",
    "<<user@victim.example>>",
    "<user@victim.example",
    "user@victim.example>",
    "<user@victim.example>x",
    "< user@victim.example >",
    "<user@victim.example >",
    "<user @victim.example>",
    "<user@ victim.example>",
    "<user@victim.example>,<user@test.example>",
    "<user@victim.example> <user@test.example>",
    '"User" <user@victim.example>',
    "<>",
    "<@>",
    "<user@>",
    "<@victim.example>",
    "<user>",
    "",
    "<user(test.example)@victim.example>",
    "<user@victim.example#test.example>",
    "<user@victim.example/@test.example>",
    "<|/bin/true>",
    '<"|/bin/true"@test.example>',
    "</tmp/file@test.example>",
    "<:include:/etc/passwd@test.example>",
    # Parameters that smuggle something.
    "<user@victim.example> ORCPT=rfc822;user@test.example",
    "<user@victim.example> ORCPT=rfc822;x+0D+0ARCPT+20TO:<user@victim.example>",
    "<user@victim.example> NOTIFY=NEVER ORCPT=rfc822;a+00b",
    "<user@victim.example> AUTH=<>",
    "<user@victim.example> RELAY=yes",
]


def test_a_stranger_reaches_no_recipient(town: Town) -> None:
    with town.stranger_greeted() as client:
        assert client.say(b"MAIL FROM:<a@b.example>")[:3] == b"250"
        for form in RECIPIENTS:
            reply = client.say(f"RCPT TO:{form}".encode())
            assert reply[:1] == b"5", (form, reply)
        assert client.say(b"DATA")[:3] == b"554"
        assert client.say(b"BDAT 3 LAST\r\nx\r\n")[:3] == b"554"
        assert client.say(b"DATA")[:3] != b"354"


OCTETS = [
    b"<us\x00er@victim.example>",
    b"<user@vic\x00tim.example>",
    b"<user@victim.example>\x00",
    b"<user@victim.example\x00@test.example>",
    b"<us\rer@victim.example>",
    b"<user@victim.example>\rRCPT TO:<user@victim.example>",
    b"<user@test.example>\nRCPT TO:<user@victim.example>",
    b"<user@victim.example>\n",
    b"<us\x0ber@victim.example>",
    b"<user\t@victim.example>",
    b"<us\x7fer@victim.example>",
    b"<user\xff@victim.example>",
    b"<user@\xef\xbc\xa0victim.example>",
    b"<user\xef\xbc\xa0victim.example>",
    b"<user@victim\xe3\x80\x82example>",
    b"<user@victim\xe2\x80\xa8.example>",
    b"<user@victim.example>\x1b[2J",
    b"<" + b"u" * 300 + b"@victim.example>",
    b"<" + b"u" * 5000 + b"@victim.example>",
]


def test_neither_with_octets_that_end_a_line_or_a_text_elsewhere(town: Town) -> None:
    with town.stranger_greeted() as client:
        assert client.say(b"MAIL FROM:<a@b.example> SMTPUTF8")[:3] == b"250"
        for form in OCTETS:
            # A bare LF makes a second line of it: each has its own refusal before NOOP's reply.
            client.send(b"RCPT TO:" + form + b"\r\nNOOP\r\n")
            replies = [client.hear()]
            while replies[-1][:1] == b"5":
                replies.append(client.hear())
            assert len(replies) > 1, form
            assert replies[-1] == b"250 2.0.0 OK\r\n", (form, replies)
        assert client.say(b"DATA")[:3] == b"554"


SENDERS = [
    "<>", "<user@test.example>", "<postmaster@test.example>", "<root@localhost>",
    "<user@[127.0.0.1]>", f"<{USER}@test.example>", "<user@victim.example>",
    '<"postmaster@test.example"@there.example>', "<@test.example:user@localhost>",
    f"<user@test.example> AUTH={USER}@test.example", "<user@test.example> AUTH=<>",
    "<user@test.example> ENVID=a+0D+0ARCPT+20TO:<x@victim.example>",
    "<user@test.example> XVERP", "<user@test.example> BODY=8BITMIME SMTPUTF8",
]  # fmt: skip
NAMES = [
    "localhost", "test.example", "127.0.0.1", "[127.0.0.1]", "[IPv6:::1]", "localhost.",
    "[IPv6:::ffff:127.0.0.1]", "mail.test.example", "sink.example",
]  # fmt: skip


def test_who_one_says_to_be_is_no_permission(town: Town) -> None:
    for name in NAMES:
        for verb in (b"EHLO ", b"HELO "):
            with RawClient(town.here, town.stranger) as client:
                client.hear()
                assert client.say(verb + name.encode())[:3] == b"250"
                assert client.say(b"MAIL FROM:<postmaster@test.example>")[:3] == b"250"
                assert client.say(b"RCPT TO:<user@victim.example>")[:1] == b"5"
    with town.stranger_greeted() as client:
        for sender in SENDERS:
            client.say(f"MAIL FROM:{sender}".encode())
            assert client.say(b"RCPT TO:<user@victim.example>")[:1] == b"5", sender
            assert client.say(b"RSET")[:3] == b"250"


def test_a_refused_recipient_makes_no_transaction_of_the_next_command(town: Town) -> None:
    with town.stranger_greeted() as client:
        # Sent ahead (RFC 2920), as if everything had been accepted: content must not be obeyed.
        client.send(
            b"MAIL FROM:<a@b.example>\r\nRCPT TO:<user@victim.example>\r\nDATA\r\n"
            b"Subject: x\r\n\r\n.\r\nRSET\r\nNOOP\r\n"
        )
        replies = [client.hear()[:3] for _ in range(7)]
        assert replies[:3] == [b"250", b"550", b"554"] or replies[1] == b"530"
        assert replies[2] == b"554"
        assert b"354" not in replies


def test_a_stranger_is_no_proxy(town: Town) -> None:
    v2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(
        [127, 0, 0, 1, 127, 0, 0, 1, 0, 9, 0, 25]
    )
    for header in (b"PROXY TCP4 127.0.0.1 127.0.0.1 9 25\r\n", b"PROXY UNKNOWN\r\n", v2):
        with RawClient(town.here, town.stranger) as client:
            client.send(header)
            assert client.hear()[:3] == b"220"
            # Lines of it are commands that nobody knows; the binary one holds a QUIT without CR.
            client.send(
                b"EHLO there\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@victim.example>\r\nDATA\r\n"
            )
            heard = [client.hear()[:3] for _ in range(5)]
            assert heard[0][:1] == b"5"
            assert b"354" not in heard
            assert heard.count(b"250") <= 2
    with town.stranger_greeted() as client:
        for attributes in (
            "ADDR=127.0.0.1", "LOGIN=ann", "NAME=localhost ADDR=127.0.0.1 HELO=localhost",
            "ADDR=IPV6:::1", "ADDR=[UNAVAILABLE]", "PROTO=ESMTP", "",
        ):  # fmt: skip
            assert client.say(f"XCLIENT {attributes}".encode())[:1] == b"5", attributes
        assert client.say(b"XFORWARD ADDR=127.0.0.1")[:1] == b"5"
        assert client.say(b"MAIL FROM:<a@b.example>")[:3] == b"250"
        assert client.say(b"RCPT TO:<user@victim.example>")[:1] == b"5"


def encoded(text: str) -> bytes:
    return base64.b64encode(text.encode())


def wrong_auth() -> list[list[bytes]]:
    """Return dialogues that must not let anybody in; the lines of each after EHLO."""
    plain = b"AUTH PLAIN "
    return [
        [plain + encoded(f"\0{USER}\0wrong")],
        [plain + encoded(f"\0{USER}\0")],
        [plain + encoded("\0\0")],
        [plain + encoded(f"{USER}\0\0")],
        [plain + encoded(f"{USER}\0other\0{PASSWORD}")],
        [plain + encoded(f"\0{USER}\0{PASSWORD}\0")],
        [plain + encoded(f"\0{USER}\0{PASSWORD}x")],
        [plain + encoded(f"\0{USER.upper()}\0{PASSWORD}")],
        [plain + encoded(f"\0{USER} \0{PASSWORD}")],
        [plain + encoded(f"\0nobody\0{PASSWORD}")],
        [plain + b"="],
        [plain + b"!!!!"],
        [b"AUTH PLAIN", b"*"],
        [b"AUTH PLAIN", b""],
        [b"AUTH LOGIN", encoded(USER), b"*"],
        [b"AUTH LOGIN", encoded(USER), encoded("wrong")],
        [b"AUTH LOGIN " + encoded(USER), b"="],
        [b"AUTH EXTERNAL " + encoded(USER)],
        [b"AUTH ANONYMOUS " + encoded("a@b.example")],
        [b"AUTH CRAM-MD5"],
        [b"AUTH XOAUTH2 " + encoded(f"user={USER}\x01auth=Bearer x\x01\x01")],
        [b"AUTH"],
        [b"AUTH PLAIN " + b"A" * 20_000],
    ]


def over_tls(town: Town) -> RawClient:
    client = town.stranger_greeted()
    assert client.say(b"STARTTLS")[:3] == b"220"
    client.start_tls()
    assert b"AUTH PLAIN" in client.say(b"EHLO there")
    return client


def test_no_way_round_a_password(town: Town) -> None:
    with town.stranger_greeted() as client:
        # In clear it is not even asked for.
        assert b"AUTH" not in client.say(b"EHLO there")
        right = encoded(f"\0{USER}\0{PASSWORD}")
        assert client.say(b"AUTH PLAIN " + right)[:3] == b"538"
        client.say(b"MAIL FROM:<a@b.example>")
        assert client.say(b"RCPT TO:<user@victim.example>")[:3] == b"530"
    with ThreadPoolExecutor(8) as callers:
        # Each failure is answered a second late.
        list(callers.map(lambda dialogue: try_auth(town, dialogue), wrong_auth()))


def try_auth(town: Town, dialogue: list[bytes]) -> None:
    with over_tls(town) as client:
        replies = [client.say(line) for line in dialogue]
        assert replies[-1][:1] in (b"5", b"4"), (dialogue, replies)
        assert not any(one.startswith(b"235") for one in replies)
        client.say(b"MAIL FROM:<a@b.example>")
        assert client.say(b"RCPT TO:<user@victim.example>")[:3] == b"530", dialogue


def test_a_right_password_is_permission_and_lasts_no_longer_than_the_session(town: Town) -> None:
    with over_tls(town) as client:
        assert client.say(b"AUTH PLAIN " + encoded(f"\0{USER}\0{PASSWORD}"))[:3] == b"235"
        client.say(b"MAIL FROM:<a@b.example>")
        assert client.say(b"RCPT TO:<user@victim.example>")[:3] == b"250"
        assert client.say(b"RSET")[:3] == b"250"
    with over_tls(town) as client:
        client.say(b"MAIL FROM:<a@b.example>")
        assert client.say(b"RCPT TO:<user@victim.example>")[:3] == b"530"


def test_what_was_said_before_tls_is_forgotten_and_what_was_sent_ahead_not_obeyed(
    town: Town,
) -> None:
    with town.stranger_greeted() as client:
        client.send(
            b"STARTTLS\r\nEHLO localhost\r\nMAIL FROM:<a@b.example>\r\n"
            b"RCPT TO:<user@victim.example>\r\n"
        )
        assert client.hear()[:3] == b"220"
        client.start_tls()
        # RFC 3207 §4.2: nothing of it was taken over the wall: nobody has said EHLO.
        assert not client.has_more()
        assert client.say(b"MAIL FROM:<a@b.example>")[:3] == b"503"
        assert client.say(b"EHLO there")[:3] == b"250"
        assert client.say(b"STARTTLS")[:1] == b"5"


def test_authentication_in_clear_does_not_outlive_starttls(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(make_user_line(USER, PASSWORD) + "\n")
    users.chmod(0o600)
    _, pem = certificate("test.example")
    Path(pem).chmod(0o600)
    config = f"""
[listen.smtp]
address = "127.0.0.1:0"
relay_from = []
auth_users = "{users}"
auth_plaintext_loopback = true
tls_certificate = "{pem}"
tls_key = "{pem}"
"""
    with (
        Daemon(queues=1, config=config) as daemon,
        RawClient.greeted(("127.0.0.1", daemon.port)) as client,
    ):
        assert client.say(b"AUTH PLAIN " + encoded(f"\0{USER}\0{PASSWORD}"))[:3] == b"235"
        assert client.say(b"STARTTLS")[:3] == b"220"
        client.start_tls(unchecked())
        assert client.say(b"EHLO there")[:3] == b"250"
        assert client.say(b"MAIL FROM:<a@b.example>")[:3] == b"250"
        assert client.say(b"RCPT TO:<user@victim.example>")[:3] == b"530"


def test_over_http_a_stranger_hands_over_nothing(town: Town) -> None:
    user = Http.of(town.daemon, Role.INJECTOR, "sender")
    viewer = Http.of(town.daemon, Role.VIEWER, "viewer")
    body = {"from": "a@b.example", "to": ["user@victim.example"], "text": "x"}
    nobody = Http(town.daemon)
    assert nobody.ask("POST", "/messages", body).status == 401
    assert viewer.ask("POST", "/messages", body).status == 403
    assert viewer.ask("POST", "/mail/release", {"filter": ""}).status in (400, 403, 404, 422)
    for headers in (
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer prm_0_0"},
        {"Authorization": f"Basic {encoded('ann:' + PASSWORD).decode()}"},
        {"Authorization": f"Bearer {user.token[:-1]}"},
        {"Authorization": f"Bearer {user.token}x"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
        {"X-HTTP-Method-Override": "GET"},
        {"Cookie": "postroom=x"},
    ):
        assert nobody.ask("POST", "/messages", body, headers).status == 401, headers
    for host in ("attacker.example", "localhost.attacker.example", "127.0.0.1.nip.example", ""):
        assert user.ask("POST", "/messages", body, {"Host": host}).status in (400, 421), host
    address = ":".join(map(str, user.address))
    for origin in ("https://attacker.example", "null", f"https://{address}.attacker.example"):
        assert user.ask("POST", "/messages", body, {"Origin": origin}).status == 403, origin
    assert user.ask("POST", "/messages", body, {"Sec-Fetch-Site": "cross-site"}).status == 403


def test_a_listener_for_ipv6_hears_no_ipv4() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    config = '[listen.smtp]\naddress = "[::1]:0"\n'
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with Daemon(queues=1, config=config) as daemon:
        for host in ("127.0.0.1", "::ffff:127.0.0.1"):
            with pytest.raises(OSError):
                RawClient((host, daemon.port))
