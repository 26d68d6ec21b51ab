"""The client's state machine, without a network."""

from __future__ import annotations

import base64
import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from postroom.core.message import Envelope, Notify, Recipient
from postroom.core.terms import Terms
from postroom.smtp.client import ClientSession
from postroom.smtp.client_options import ClientOptions, Credentials
from postroom.smtp.client_states import TRANSITIONS, Cause, Signal, Stage, State
from postroom.smtp.client_transaction import DotStuffer, Transaction

EHLO_ALL = (
    b"250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n"
    b"250-SMTPUTF8\r\n250-DSN\r\n250-CHUNKING\r\n250 STARTTLS\r\n"
)
PIPELINING = b"250-mx.test\r\n250 PIPELINING\r\n"


def a_session(ehlo: bytes = PIPELINING, **options: object) -> ClientSession:
    session = ClientSession(ClientOptions("me.test", "mx.test", **options))  # type: ignore[arg-type]
    session.receive(b"220 mx.test\r\n")
    session.receive(ehlo)
    return session


def a_transaction(
    *addresses: str, content: bytes = b"a\r\n.b\r\n", **envelope: object
) -> Transaction:
    recipients = tuple(Recipient(address) for address in addresses or ("u@a.test",))
    return Transaction(
        Envelope("f@b.test", recipients, **envelope),  # type: ignore[arg-type]
        len(content),
        (content,),
    )


def test_every_state_leads_to_closed() -> None:
    for state, signals in TRANSITIONS.items():
        assert state is State.CLOSED or signals[Signal.CLOSE] is State.CLOSED


def test_envelope_and_data_are_one_write_and_the_dot_follows_354() -> None:
    session, transaction = a_session(), a_transaction()
    out = session.begin(transaction)
    assert out == b"MAIL FROM:<f@b.test>\r\nRCPT TO:<u@a.test>\r\nDATA\r\n"
    assert session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n") == b"a\r\n..b\r\n.\r\n"
    assert session.state is State.FINAL
    session.receive(b"250 2.0.0 queued\r\n")
    assert session.state is State.READY
    assert transaction.failure is None
    assert transaction.final_replies[0].text == "queued"


@given(st.lists(st.integers(0, 300), max_size=8))
def test_a_whole_dialogue_is_the_same_however_replies_are_split(cuts: list[int]) -> None:
    said = (
        b"250 2.1.0 ok\r\n250 ok\r\n550 5.1.1 no\r\n451-4.2.1 later\r\n451 4.2.1 please\r\n"
        b"354 go\r\n250 2.0.0 queued\r\n"
    )
    session, transaction = a_session(), a_transaction("a@a.test", "b@a.test", "c@a.test")
    session.begin(transaction)
    edges = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    out = b"".join(session.receive(said[a:b]) for a, b in itertools.pairwise(edges))
    assert out == b"a\r\n..b\r\n.\r\n"
    assert [reply.code for reply in transaction.rcpt_replies] == [250, 550, 451]
    assert transaction.final_replies[0].code == 250
    assert session.state is State.READY


def test_chunking_puts_envelope_and_content_in_one_write_without_stuffing() -> None:
    session, transaction = a_session(EHLO_ALL), a_transaction()
    out = session.begin(transaction)
    assert out.endswith(b"BDAT 7 LAST\r\na\r\n.b\r\n")
    session.receive(b"250 ok\r\n250 ok\r\n250 2.0.0 queued\r\n")
    assert session.state is State.READY
    assert transaction.final_replies[0].text == "queued"


def test_without_pipelining_commands_go_one_by_one() -> None:
    session = ClientSession(ClientOptions("me.test"))
    assert session.receive(b"220 hi\r\n") == b"EHLO me.test\r\n"
    assert session.receive(b"502 what?\r\n") == b"HELO me.test\r\n"
    session.receive(b"250 hello\r\n")
    transaction = a_transaction("a@a.test", "b@a.test")
    assert session.begin(transaction) == b"MAIL FROM:<f@b.test>\r\n"
    assert session.receive(b"250 ok\r\n") == b"RCPT TO:<a@a.test>\r\n"
    assert session.receive(b"550 no\r\n") == b"RCPT TO:<b@a.test>\r\n"
    assert session.receive(b"250 ok\r\n") == b"DATA\r\n"
    assert session.receive(b"354 ok\r\n") == b"a\r\n..b\r\n.\r\n"
    session.receive(b"250 ok\r\n")
    assert session.state is State.READY


def test_all_recipients_refused_and_354_all_the_same_gets_a_lone_dot() -> None:
    session, transaction = a_session(), a_transaction()
    session.begin(transaction)
    assert session.receive(b"250 ok\r\n550 no\r\n354 go\r\n") == b".\r\n"
    session.receive(b"554 no valid recipients\r\n")
    assert session.state is State.READY
    assert transaction.failure is None and not transaction.final_replies
    assert session.begin(a_transaction()).startswith(b"MAIL")


def test_a_transaction_that_was_broken_off_is_reset_in_the_next_write() -> None:
    session = a_session()
    session.begin(a_transaction())
    session.receive(b"250 ok\r\n550 no\r\n503 no\r\n")
    assert session.state is State.READY
    transaction = a_transaction()
    assert session.begin(transaction).startswith(b"RSET\r\nMAIL FROM")
    session.receive(b"250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n")
    assert transaction.final_replies[0].text == "queued"
    assert session.begin(a_transaction()).startswith(b"MAIL")


def test_421_at_any_time_closes_and_fails_what_is_open() -> None:
    for said, stage in (
        (b"421 bye\r\n", Stage.MAIL),
        (b"250 ok\r\n421 bye\r\n", Stage.RCPT),
        (b"250 ok\r\n250 ok\r\n421 bye\r\n", Stage.DATA),
        (b"250 ok\r\n250 ok\r\n354 go\r\n421 bye\r\n", Stage.FINAL),
    ):
        session, transaction = a_session(), a_transaction()
        session.begin(transaction)
        session.receive(said)
        assert session.state is State.CLOSED
        assert transaction.failure is not None
        assert (transaction.failure.stage, transaction.failure.cause) == (stage, Cause.CLOSING)


def test_lmtp_answers_for_each_accepted_recipient() -> None:
    session = ClientSession(ClientOptions("me.test", lmtp=True))
    assert session.receive(b"220 hi\r\n") == b"LHLO me.test\r\n"
    session.receive(PIPELINING)
    transaction = a_transaction("a@a.test", "b@a.test", "c@a.test")
    session.begin(transaction)
    assert session.receive(b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n") == b"DATA\r\n"
    session.receive(b"354 go\r\n250 ok\r\n")
    assert session.state is State.FINAL
    session.receive(b"452 4.2.2 full\r\n")
    assert session.state is State.READY
    assert [reply.code for reply in transaction.final_replies] == [250, 452]


def test_dsn_parameters_go_where_dsn_is_offered_and_nowhere_else() -> None:
    recipient = Recipient("u@a.test", Notify.SUCCESS | Notify.FAILURE, "rfc822;o+1@a.test")
    envelope = Envelope("f@b.test", (recipient,), "HDRS", "id=1")
    transaction = Transaction(envelope, 3, (b"x\r\n",))
    out = a_session(EHLO_ALL).begin(transaction)
    assert b"RET=HDRS ENVID=id+3D1" in out
    assert b"RCPT TO:<u@a.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o+2B1@a.test\r\n" in out
    assert transaction.dsn_passed_on
    transaction = Transaction(envelope, 3, (b"x\r\n",))
    assert b"NOTIFY" not in a_session().begin(transaction)
    assert not transaction.dsn_passed_on


def test_content_larger_than_the_announced_size_is_refused_unasked() -> None:
    session = a_session(b"250-mx\r\n250 SIZE 5\r\n")
    transaction = a_transaction(content=b"123456\r\n")
    assert session.begin(transaction) == b""
    assert transaction.failure is not None and transaction.failure.reply.enhanced == "5.3.4"
    assert session.state is State.READY


def test_eight_bit_content_needs_8bitmime_unless_it_is_ascii_after_all() -> None:
    transaction = a_transaction(content="gr\u00fc\u00dfe\r\n".encode(), eight_bit=True)
    assert a_session().begin(transaction) == b""
    assert transaction.failure is not None and transaction.failure.reply.enhanced == "5.6.3"
    assert b"BODY" not in a_session().begin(a_transaction(eight_bit=True))
    assert b" BODY=8BITMIME" in a_session(EHLO_ALL).begin(a_transaction(eight_bit=True))


def test_eight_bit_content_is_declared_where_its_sender_did_not() -> None:
    content = "gr\u00fc\u00dfe\r\n".encode()
    assert b" BODY=8BITMIME" in a_session(EHLO_ALL).begin(a_transaction(content=content))
    assert b"BODY" not in a_session(EHLO_ALL).begin(a_transaction())
    # To a host without 8BITMIME it goes as it came.
    assert b"BODY" not in a_session().begin(a_transaction(content=content))


def test_internationalised_mail_needs_smtputf8_unless_it_is_ascii_after_all() -> None:
    transaction = a_transaction("gr\u00fc\u00df@a.test")
    assert a_session().begin(transaction) == b""
    assert transaction.failure is not None and transaction.failure.reply.enhanced == "5.6.7"
    assert b"SMTPUTF8" not in a_session().begin(a_transaction(smtputf8=True))
    assert b" SMTPUTF8" in a_session(EHLO_ALL).begin(a_transaction("gr\u00fc\u00df@a.test"))
    assert b" SMTPUTF8" not in a_session(EHLO_ALL).begin(a_transaction(smtputf8=True))
    body = b"Subject: x\r\n\r\n\xc3\xbc\r\n"
    said = a_session(EHLO_ALL).begin(a_transaction(content=body, smtputf8=True))
    assert b" SMTPUTF8" in said, "a part of it may have such a header"
    header = a_transaction(content=b"Subject: \xc3\xbc\r\n\r\nx\r\n", smtputf8=True)
    assert a_session().begin(header) == b""
    assert header.failure is not None and header.failure.reply.enhanced == "5.6.9"


def test_an_address_cannot_bring_a_command_along() -> None:
    for address in ("a@b>\r\nRCPT TO:<evil@c", "a\nb@c", "a\0b@c"):
        transaction = a_transaction(address)
        assert a_session().begin(transaction) == b""
        assert transaction.failure is not None and transaction.failure.reply.enhanced == "5.1.3"


def test_what_came_before_the_handshake_is_never_read_as_said_under_tls() -> None:
    session = a_session(EHLO_ALL, starttls=True)
    assert session.state is State.STARTTLS
    session.receive(b"220 go\r\n250 injected\r\n")
    assert session.state is State.CLOSED
    session = a_session(EHLO_ALL, starttls=True)
    session.receive(b"220 go\r\n")
    assert session.state is State.HANDSHAKE
    assert session.secured() == b"EHLO me.test\r\n"
    assert not session.capabilities.pipelining
    session.receive(PIPELINING)
    assert session.state is State.READY


def test_auth_plain_and_login_and_no_password_in_clear() -> None:
    credentials = Credentials("user", "geheim")
    clear = a_session(b"250-mx\r\n250 AUTH PLAIN\r\n", credentials=credentials)
    assert clear.failure is not None and clear.failure.stage is Stage.AUTH
    session = ClientSession(ClientOptions("me", "mx", credentials=credentials, clear_auth=True))
    session.receive(b"220 hi\r\n")
    assert session.receive(b"250-mx\r\n250 AUTH LOGIN\r\n") == b"AUTH LOGIN\r\n"
    assert session.receive(b"334 VXNlcm5hbWU6\r\n") == b"dXNlcg==\r\n"
    assert session.receive(b"334 UGFzc3dvcmQ6\r\n") == b"Z2VoZWlt\r\n"
    session.receive(b"235 ok\r\n")
    assert session.state is State.READY
    assert "Z2VoZWlt" not in "\n".join(session.dialogue)
    assert "geheim" not in repr(credentials)


def test_a_refused_password_ends_the_session_at_the_auth_stage() -> None:
    session = a_session(
        b"250-mx\r\n250 AUTH PLAIN\r\n", credentials=Credentials("u", "p"), clear_auth=True
    )
    session.receive(b"535 5.7.8 no\r\n")
    assert session.failure is not None and session.failure.stage is Stage.AUTH


def test_a_host_with_our_own_name_is_a_loop() -> None:
    session = a_session(b"250-ME.test hello\r\n250 PIPELINING\r\n", detect_loop=True)
    assert session.failure is not None and session.failure.cause is Cause.LOOP


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_dot_stuffing_does_not_depend_on_where_content_is_cut(
    content: bytes, cuts: list[int]
) -> None:
    for octet, meant in enumerate((b"\r\n.", b".", b"\r.", b"\n.", b"\r", b"\n", b".\r", b".\n")):
        content = content.replace(bytes((octet,)), meant)
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    stuffer, whole = DotStuffer(), DotStuffer()
    pieces = [stuffer.stuff(content[a:b]) for a, b in itertools.pairwise(edges)]
    sent = whole.stuff(content) + whole.end()
    assert b"".join(pieces) + stuffer.end() == sent
    assert sent.endswith(b".\r\n") and sent[-5:] in (b"\r\n.\r\n", b".\r\n")
    # Nor does a host find an end that takes a bare CR or LF for the end of a line.
    assert re.search(rb"(^|[\r\n])\.[\r\n]", sent[:-2]) is None


@given(st.lists(st.sampled_from([
    b"250 ok\r\n", b"354 go\r\n", b"421 bye\r\n", b"450 later\r\n", b"550 no\r\n", b"220 hi\r\n",
    b"250-a\r\n", b"334 x\r\n", b"junk\r\n", b"2", b"\r\n", b"250-PIPELINING\r\n250 SIZE\r\n",
]), max_size=25))  # fmt: skip
def test_no_server_makes_the_session_raise_or_leave_a_recipient_without_a_word(
    said: list[bytes],
) -> None:
    session = ClientSession(ClientOptions("me.test", "mx"))
    open_transactions = []
    for octets in said:
        session.receive(octets)
        if session.state is State.READY:
            transaction = a_transaction("a@a.test", "b@a.test")
            open_transactions.append(transaction)
            session.begin(transaction)
    session.lost(Cause.LOST)
    assert session.state is State.CLOSED
    for transaction in open_transactions:
        refused = len(transaction.rcpt_replies) - transaction.accepted
        assert transaction.failure or transaction.final_replies or refused == 2


def test_a_priority_goes_on_to_hosts_that_offer_it() -> None:
    offers = EHLO_ALL.replace(b"250-DSN", b"250-MT-PRIORITY\r\n250-DSN")
    for priority, ehlo, expected in (
        (4, offers, b" MT-PRIORITY=4\r\n"),
        (-9, offers, b" MT-PRIORITY=-9\r\n"),
        (4, EHLO_ALL, b""),
        (0, offers, b""),
    ):
        terms = Terms(1_790_000_000.0, priority=priority)
        out = a_session(ehlo).begin(a_transaction(terms=terms))
        assert out.partition(b"RCPT")[0].endswith(expected or b" SIZE=7\r\n")
        assert b"HOLD" not in out and (b"MT-PRIORITY" in out) == bool(expected)


def by(ehlo: bytes, terms: Terms, left_s: float) -> tuple[bytes, Transaction]:
    """Begin a transaction of mail with a deadline; return what is written and the transaction."""
    transaction = a_transaction(terms=terms)
    transaction.by_left_s = left_s
    return a_session(ehlo).begin(transaction), transaction


def test_what_is_left_of_its_time_goes_on_to_hosts_that_offer_it() -> None:
    offers = EHLO_ALL.replace(b"250-DSN", b"250-DELIVERBY 30\r\n250-DSN")
    returned = Terms(deliver_by=1.0, by_mode="R", by_trace=True)
    out, transaction = by(offers, returned, 75.9)
    assert out.partition(b"\r\n")[0].endswith(b" BY=75;RT") and not transaction.deadline_dropped
    out, transaction = by(offers, Terms(deliver_by=1.0, by_mode="N"), -5.0)
    assert out.partition(b"\r\n")[0].endswith(b" BY=-5;N")


def test_mail_to_be_returned_in_time_does_not_go_where_that_cannot_be_promised() -> None:
    returned = Terms(deliver_by=1.0, by_mode="R")
    offers = EHLO_ALL.replace(b"250-DSN", b"250-DELIVERBY 30\r\n250-DSN")
    for ehlo, left_s, status in ((EHLO_ALL, 75.0, "5.3.3"), (offers, 29.0, "5.4.7")):
        out, transaction = by(ehlo, returned, left_s)
        assert out == b"" and transaction.failure is not None
        assert transaction.failure.cause is Cause.UNSUITABLE
        assert transaction.failure.reply.enhanced == status
    any_length = offers.replace(b"DELIVERBY 30", b"DELIVERBY")
    assert b" BY=1;R" in by(any_length, returned, 1.5)[0]
    assert by(any_length, returned, 0.5)[1].failure is not None


def test_a_host_that_knows_no_deadlines_gets_mail_whose_sender_is_to_be_told() -> None:
    out, transaction = by(EHLO_ALL, Terms(deliver_by=1.0, by_mode="N"), 75.0)
    assert b"BY=" not in out and out and transaction.deadline_dropped


def test_what_a_relay_repeats_of_our_password_is_not_kept() -> None:
    secret, token = "hunter2", base64.b64encode(b"\0me\0hunter2").decode()
    for said in (f"535 5.7.8 {token}\r\n", f"535 5.7.8 no {secret}\r\n", f"421 {secret}\r\n"):
        options = ClientOptions(
            "me.test", "relay", credentials=Credentials("me", secret), clear_auth=True
        )
        session = ClientSession(options)
        session.receive(b"220 hi\r\n")
        assert token.encode() in session.receive(b"250-relay\r\n250 AUTH PLAIN\r\n")
        session.receive(said.encode())
        assert session.failure is not None
        kept = str(session.failure.reply) + "".join(session.dialogue) + repr(options)
        assert not re.search(f"{secret}|{re.escape(token)}", kept), kept
