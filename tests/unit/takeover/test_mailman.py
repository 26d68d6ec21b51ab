"""Files of Mailman 3: what they say, what is refused, and no pickle runs or raises anything."""

from __future__ import annotations

import datetime
import email
import os
import pickle
import sqlite3
from collections import OrderedDict
from contextlib import suppress
from email.header import Header
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.message import Recipient
from postroom.takeover import mailman
from postroom.takeover.files import NoQueue
from postroom.takeover.mailman import MailingList
from postroom.takeover.mailman_running import master_of, runner_among
from postroom.takeover.pickled import read_pickles
from postroom.takeover.source import entries
from postroom.takeover.value import Unreadable, reverse_path_for

NAME = "1700000000.25+da39a3ee"
LISTS = {
    "my.list.x.org": MailingList("my.list", "x.org", 0),
    "one.x.org": MailingList("one", "x.org", 1),
    "full.x.org": MailingList("full", "x.org", 2),
}
POSTING = (
    b"Subject: \xe9 one\nBcc: z@y.org\nList-Post: <mailto:my.list@x.org>\nX-Mailman-Copy: yes\n"
    b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n"
    b"caf\xe9\nFrom here\nend"
)
EAST = datetime.timezone(datetime.timedelta(hours=2))
TAKEN_IN = datetime.datetime(2023, 11, 14, 22, 13, 20, 500000, tzinfo=datetime.UTC)
KNOWN = {
    "listid": "my.list.x.org",
    "recipients": {"b@y.org", "a@y.org"},
    "nodecorate": True,
    "received_time": TAKEN_IN.replace(tzinfo=None),
    "version": 3,
    "_parsemsg": False,
}


def octets(content: bytes = POSTING, protocol: int = 4, **known: Any) -> bytes:
    message = email.message_from_bytes(content)
    return pickle.dumps(message, protocol) + pickle.dumps({**KNOWN, **known}, protocol)


def parse(given_octets: bytes, lists: Any = LISTS) -> mailman.Foreign:
    return mailman.parse(given_octets, NAME, lists)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_each_protocol_gives_the_message_that_mailman_would_send(protocol: int) -> None:
    message = parse(octets(protocol=protocol))
    assert message.recipients == (Recipient("a@y.org"), Recipient("b@y.org"))
    assert (message.reverse_path, message.verp) == ("my.list-bounces@x.org", "")
    assert message.arrived_at == 1700000000.5 and not message.problems
    header, _, body = message.content.partition(b"\r\n\r\n")
    assert body == b"caf\xe9\r\n>From here\r\nend\r\n"
    assert b"Bcc" not in header and b"X-Mailman-Copy: yes" in header


def test_a_posting_that_was_kept_as_text_is_parsed() -> None:
    whole = pickle.dumps("Subject: x\n\nbody\n", 0) + pickle.dumps({**KNOWN, "_parsemsg": True}, 0)
    assert parse(whole).content == b"Subject: x\r\n\r\nbody\r\n"
    with pytest.raises(Unreadable, match="no message"):
        parse(pickle.dumps("Subject: x\n\nbody\n") + pickle.dumps(KNOWN))


def test_fields_with_charsets_and_parts_come_as_they_were() -> None:
    outer = MIMEMultipart(boundary="AA")
    outer["Subject"] = Header("gr\xfc\xdfe", "utf-8", header_name="Subject")
    outer.attach(MIMEText("one", "plain"))
    outer.attach(MIMEText("zw\xf6lf", "plain", "utf-8"))
    whole = pickle.dumps(outer, 4) + pickle.dumps(KNOWN, 4)
    assert parse(whole).content == outer.as_bytes().replace(b"\n", b"\r\n")


def test_a_folded_field_of_8_bit_octets_has_no_bare_line_feed() -> None:
    folded = b"Subject: \xe9\n\tone\n\nbody\n"
    # What the generator makes of it, with CRLF asked for.
    message = email.message_from_bytes(folded)
    assert b"\xe9\n\tone" in message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
    assert parse(octets(folded)).content == b"Subject: \xe9\r\n\tone\r\n\r\nbody\r\n"


def test_a_multipart_without_a_boundary_gets_the_same_one_each_time() -> None:
    outer = MIMEMultipart()
    outer.attach(MIMEText("one", "plain"))
    whole = pickle.dumps(outer, 4) + pickle.dumps(KNOWN, 4)
    content = parse(whole).content
    assert content == parse(whole).content and content.count(b"--===") == 2
    assert email.message_from_bytes(content).get_boundary()


def test_verp_gives_each_recipient_a_sender_of_his_own() -> None:
    message = parse(octets(verp=True))
    paths = [reverse_path_for(message, one) for one in message.recipients]
    assert paths == ["my.list-bounces+a=y.org@x.org", "my.list-bounces+b=y.org@x.org"]
    # Each copy is looked at again, and only second ones are marked.
    assert b"X-Mailman-Copy" not in message.content
    with pytest.raises(Unreadable, match="second ones"):
        parse(octets(verp=True, **{"add-dup-header": {"b@y.org"}}))


def test_a_sender_of_its_own_goes_before_that_of_the_list() -> None:
    assert parse(octets(sender="one-bounces+t@x.org")).reverse_path == "one-bounces+t@x.org"
    assert parse(octets(sender="")).reverse_path == ""


def test_without_a_received_time_the_name_tells() -> None:
    assert parse(octets(received_time=None)).arrived_at == 1700000000.25


def test_no_message_came_before_there_was_time() -> None:
    assert parse(octets(received_time=TAKEN_IN.replace(year=1, tzinfo=None))).arrived_at == 0.0


def test_what_is_not_to_go_yet_is_held_and_without_recipients_is_told() -> None:
    later = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert (
        parse(octets(deliver_after=later)).hold == "not before 2030-01-02 03:04:05 UTC in Mailman"
    )
    assert "no recipients" in parse(octets(recipients=set())).problems[0]


@pytest.mark.parametrize(
    ("known", "lists", "told"),
    [
        ({"nodecorate": False}, LISTS, "footer"),
        ({"listid": "full.x.org"}, LISTS, "personalised"),
        ({"listid": "other.x.org"}, LISTS, "no list 'other.x.org'"),
        ({"listid": None}, LISTS, "names no list"),
        ({"listid": "a.list.x.org"}, None, "which part of 'a.list.x.org' is the host"),
        ({"isdigest": True}, None, "a digest"),
        ({"recipients": "a@y.org"}, LISTS, "no set"),
        ({"recipients": {1}}, LISTS, "no text"),
        ({"received_time": 5}, LISTS, "a time that is none"),
        ({"received_time": TAKEN_IN.astimezone(EAST)}, LISTS, "a time that is none"),
        ({"deliver_after": datetime.date(2030, 1, 2)}, LISTS, "a time that is none"),
    ],
)
def test_what_cannot_come_as_mailman_would_send_it_is_refused(
    known: dict[str, Any], lists: Any, told: str
) -> None:
    with pytest.raises(Unreadable, match=told):
        parse(octets(**known), lists)


def test_digests_and_the_copy_for_the_archive_have_no_footer() -> None:
    assert parse(octets(nodecorate=False, isdigest=True)).recipients
    archive = ["archive@mail-archive.com"]
    assert parse(octets(nodecorate=False, recipients=archive)).recipients
    assert parse(octets(listid="one.x.org", recipients=["c@y.org"])).recipients


def test_without_a_database_the_posting_says_where_the_host_begins() -> None:
    assert parse(octets(), None).reverse_path == "my.list-bounces@x.org"
    # One that does not agree with the list id is no witness.
    forged = POSTING.replace(b"my.list@x.org", b"my@list.y.org")
    with pytest.raises(Unreadable, match="is the host"):
        parse(octets(forged), None)


class Calls:
    """Makes a pickle that calls something when it is loaded by `pickle`."""

    def __init__(self, called: Any, *arguments: Any) -> None:
        self.how = (called, arguments)

    def __reduce__(self) -> Any:
        return self.how


def hostile(path: Path) -> list[bytes]:
    """Return pickles that would make a file, each in a way of its own."""
    line = f"open({str(path)!r}, 'w')"
    return [
        pickle.dumps(Calls(os.system, f"touch {path}"), 0),
        pickle.dumps(Calls(os.system, f"touch {path}"), 4),
        pickle.dumps(Calls(eval, line)),
        pickle.dumps(Calls(exec, line)),
        pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system")),
        pickle.dumps(Calls(open, str(path), "w")),
        # A class that is known, made by what is not; and attributes set on a function.
        b"cposix\nsystem\n(S'touch " + str(path).encode() + b"'\ntR.",
        b"ccopyreg\n_reconstructor\n(cemail.message\nMessage\ncposix\nsystem\nS'x'\ntR.",
        b"(S'touch " + str(path).encode() + b"'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch " + str(path).encode() + b"'\no.",
        b"cbuiltins\nset\n(cos\nsystem\n}tb.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01xb.",
        b"Pevil\n.",
        b"\x80\x02\x82\x01.",
        # What is built by a method of its own, elsewhere.
        b"cemail.message\nMessage\n)\x81c__builtin__\neval\n(V" + line.encode() + b"\ntRb.",
    ]


def test_no_pickle_runs_anything(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    behind = pickle.dumps(KNOWN)
    for evil in hostile(path):
        with pytest.raises(Unreadable):
            parse(evil + behind)
        with pytest.raises(Unreadable):
            parse(pickle.dumps(Message()) + evil)
    # Where it stands among what is not asked for, it is a name without meaning.
    assert parse(octets(plugin=Calls(os.system, f"touch {path}"))).recipients
    assert not path.exists()
    # The same pickle would have run.
    pickle.loads(hostile(path)[0])
    assert path.exists()


def test_a_class_that_is_not_known_is_named() -> None:
    with pytest.raises(Unreadable, match="a message is a dict"):
        parse(pickle.dumps(OrderedDict(a=1)) + pickle.dumps(KNOWN))
    with pytest.raises(Unreadable, match=r"posix\.system|nt\.system"):
        parse(pickle.dumps(Calls(os.system, "true")) + pickle.dumps(KNOWN))


@pytest.mark.parametrize(
    "old",
    [
        # Objects of Python 2's first kind of class, as protocols 1 and 0 write them.
        b"(cMailman.Message\nMessage\nq\x01o}q\x02b.",
        b"(iMailman.Message\nMessage\np0\n(dp1\nb.",
        b"\x80\x02cMailman.Message\nMessage\n)\x81}b.",
    ],
)
def test_a_file_of_mailman_2_is_known_as_one(old: bytes) -> None:
    with pytest.raises(Unreadable, match="Mailman 2"):
        parse(old + pickle.dumps(KNOWN, 2))


def nested(depth: int) -> Message:
    inner = Message()
    inner.set_payload("x")
    for _ in range(depth):
        outer = Message()
        outer["Content-Type"] = 'multipart/mixed; boundary="a"'
        outer.attach(inner)
        inner = outer
    return inner


@pytest.mark.parametrize(
    "evil",
    [
        b"]" * 100_000 + b"a" * 99_999 + b".",  # lists in lists
        b")" + b"\x85" * 100_000 + b"}N" + b"s.",
        b"}" + b")" + b"\x85" * 100_000 + b"Ns.",  # a key that cannot be hashed
        b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.",  # octets that are not there
        b"N" + b"r\xff\xff\xff\xff" + b".",  # a memo that would be large
        b"(((((((t.",
        b"0.",
        b"",
        b"L" + b"9" * 10_000 + b"L\n.",
    ],
)
def test_a_pickle_takes_no_more_than_it_has(evil: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(evil + pickle.dumps(KNOWN))


@pytest.mark.parametrize(
    "evil",
    [
        # One list, or one text, from the memo again and again.
        b"(" + b"K\x01" * 9000 + b"lq\x010" + b"cbuiltins\nset\nh\x01\x85R0" * 9000 + b"N.",
        b"V" + b"x" * 9000 + b"\nq\x010" + b"c_codecs\nencode\nh\x01N\x86R0" * 9000 + b"N.",
        b"V" + b"x" * 9000 + b"\nq\x010" + b"h\x01h\x01\x930" * 9000 + b"N.",
        # A long key would be compared with its like each time.
        b"}V" + b"x" * 9000 + b"\nNs.",
        b"}\x8b\x00\x20\x00\x00" + b"\x7f" * 8192 + b"Ns.",
    ],
    ids=["set", "octets", "name", "key", "number"],
)
def test_what_the_memo_holds_is_not_copied_without_end(evil: bytes) -> None:
    with pytest.raises(Unreadable, match="no pickle"):
        parse(evil + pickle.dumps(KNOWN))


def test_messages_that_hold_themselves_or_one_text_too_often_are_refused() -> None:
    endless = nested(1)
    endless.attach(endless)
    part = nested(0)
    part.set_payload("x" * 100_000)
    many = nested(1)
    for _ in range(20):
        many.attach(part)
    for message, told in ((endless, "parts"), (nested(100), "parts"), (many, "more text")):
        with pytest.raises(Unreadable, match=told):
            parse(pickle.dumps(message) + pickle.dumps(KNOWN))


def test_every_cut_file_is_unreadable() -> None:
    whole = octets()
    for end in range(len(whole)):
        with pytest.raises(Unreadable):
            parse(whole[:end])


@given(st.data())
def test_no_octets_raise_anything_else(data: st.DataObject) -> None:
    start = data.draw(st.sampled_from((b"", octets(), octets(protocol=0), octets(protocol=1))))
    damaged = bytearray(start or data.draw(st.binary(max_size=300)))
    for _ in range(data.draw(st.integers(0, 4)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Unreadable):
        parse(bytes(damaged))


@given(st.lists(st.sampled_from([*b"(.0125])}NqhRb\x81\x85\x86\x87\x8f\x90\x93\x94aesut"])))
def test_no_operations_raise_anything_else(operations: list[int]) -> None:
    with suppress(Unreadable):
        read_pickles(bytes(operations) + b".", 1)


def queue(base: Path) -> Path:
    """Make a var directory with a queue of every kind."""
    for name in ("out", "retry", "in", "virgin", "archive", "shunt", "bad"):
        (base / "queue" / name).mkdir(parents=True)
    for place in (
        f"out/{NAME}.pck", "retry/1700000001.5+aa.bak", "out/1700000002.5+bb.pck.tmp",
        "in/1700000003.5+cc.pck", "in/1700000003.6+cc.bak", "in/1700000003.7+cc.pck.tmp",
        "archive/1700000004.5+dd.pck", "shunt/1700000005.5+ee.pck", "bad/1700000006.5+ff.psv",
    ):  # fmt: skip
        (base / "queue" / place).write_bytes(octets())
    return base


def database(base: Path) -> None:
    (base / "data").mkdir()
    lists = sqlite3.connect(base / "data" / "mailman.db")
    lists.execute("CREATE TABLE mailinglist (list_id, list_name, mail_host, personalize)")
    lists.execute("INSERT INTO mailinglist VALUES ('my.list.x.org', 'my', 'list.x.org', 0)")
    lists.commit()
    lists.close()


@pytest.mark.parametrize("below", ["", "queue"])
def test_the_queues_that_hold_outbound_mail_are_walked(tmp_path: Path, below: str) -> None:
    database(queue(tmp_path))
    taken, told = {}, {}
    for entry in entries("mailman", tmp_path / below):
        try:
            taken[entry.place.removeprefix("queue/")] = entry.read()
        except Unreadable as error:
            told[entry.place.removeprefix("queue/")] = str(error)
    assert list(taken) == [f"out/{NAME}.pck", "retry/1700000001.5+aa.bak"]
    # The database knows where the host begins.
    assert {one.reverse_path for one in taken.values()} == {"my-bounces@list.x.org"}
    # What goes nowhere from here (archive) is no loss; elsewhere a line tells of a whole queue.
    assert list(told) == ["out/1700000002.5+bb.pck.tmp", "in", "shunt", "bad"]
    assert told["in"].startswith("2 files: Mailman must process it itself")
    assert told["shunt"].startswith("1 file: set aside") and "unshunt" in told["shunt"]


def test_a_database_that_cannot_be_read_stops_the_import(tmp_path: Path) -> None:
    (queue(tmp_path) / "data").mkdir()
    (tmp_path / "data" / "mailman.db").write_bytes(b"no database" * 100)
    with pytest.raises(NoQueue, match="cannot be read"):
        entries("mailman", tmp_path)


def process(base: Path, number: int, *words: str) -> None:
    (base / str(number)).mkdir(parents=True)
    (base / str(number) / "cmdline").write_bytes("\0".join((*words, "")).encode())


def test_a_master_is_known_by_its_lock_or_its_number(tmp_path: Path) -> None:
    directory, processes = tmp_path / "var" / "queue", tmp_path / "proc"
    (directory.parent / "locks").mkdir(parents=True)
    directory.mkdir()
    process(processes, 70, "/usr/bin/python3", "/opt/mailman/bin/master", "-C", "mailman.cfg")
    process(processes, 71, "/usr/bin/vi")
    assert master_of(directory, processes) == ""
    pid = directory.parent / "master.pid"
    pid.write_text("71\n")
    assert master_of(directory, processes) == ""  # the number went to another
    pid.write_text("70\n")
    assert "names process 70" in master_of(directory, processes)
    pid.unlink()
    lock, own = directory.parent / "locks" / "master.lck", os.uname().nodename
    lock.write_text(f"{lock}|{own}|71|99")
    assert master_of(directory, processes) == ""
    lock.write_text(f"{lock}|{own}|70|99")
    assert "held by process 70" in master_of(directory.parent, processes)
    lock.write_text(f"{lock}|elsewhere.example|71|99")
    assert "of elsewhere.example" in master_of(directory, processes)


def test_a_runner_is_known_by_what_it_was_started_with(tmp_path: Path) -> None:
    process(tmp_path, 70, "/usr/bin/vi", "--runner=out")
    assert runner_among(tmp_path.iterdir()) == ""
    process(tmp_path, 71, "/usr/bin/python3.11", "/opt/bin/runner", "-C", "x", "--runner=out:0:1")
    assert "process 71 is a runner" in runner_among(tmp_path.iterdir())
