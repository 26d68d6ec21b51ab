"""A disk that is really full: mail is refused before it is written, and nothing is lost.

Each story has a file system of 24 MiB of its own, on which a queue lies.
"""

from __future__ import annotations

import smtplib
from pathlib import Path

import pytest

from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread
from tests.support.small_disk import SmallDisk

MIB = 1 << 20
RESERVE = 6 * MIB
SPOOL = 'reserve = "6 MiB"'
LISTEN = '[listen.smtp]\naddress = ["127.0.0.1:0"]\nmessages_max = 100000\nsize_limit = "4 MiB"\n'
SLOW_RETRY = '[channel.default]\nretry = "list 1h for 2d"\n'
BIG = b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 3000  # some 230 KiB
INJECTED = "From: a@example.org\nTo: b@example.net\nSubject: x\n\nhello\n"
FULL = "452 4.3.1"


class Session:
    """An SMTP session that a test speaks through command by command."""

    def __init__(self, daemon: Daemon) -> None:
        self._client = smtplib.SMTP("127.0.0.1", daemon.port, timeout=20)
        self._client.ehlo()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, recipient: str, content: bytes = BIG, *, announce: bool = True) -> str:
        """Send one message; return the reply that decided about it."""
        self._client.rset()
        size = f" SIZE={len(content)}" if announce else ""
        for command in (f"MAIL FROM:<a@example.org>{size}", f"RCPT TO:<{recipient}>", "DATA"):
            code, text = self._client.docmd(command)
            if code >= 400:
                return f"{code} {text.decode()}"
        return self.content(content)

    def begin(self, recipient: str) -> None:
        """Go as far as DATA."""
        for command in ("MAIL FROM:<a@example.org>", f"RCPT TO:<{recipient}>", "DATA"):
            assert self._client.docmd(command)[0] < 400

    def content(self, content: bytes) -> str:
        """Send the content after DATA; return the reply."""
        self._client.send(content + b".\r\n")
        code, text = self._client.getreply()
        return f"{code} {text.decode()}"


def place(daemon: Daemon, disk: SmallDisk, number: int) -> Path:
    """Let a queue lie on `disk`, before the first start; return its content directory."""
    (disk.path / f"queue{number}").mkdir(mode=0o700)
    spool = daemon.base / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    (spool / f"queue{number}").symlink_to(disk.path / f"queue{number}")
    return disk.path / f"queue{number}" / "df"


def fill_by_mail(daemon: Daemon) -> list[str]:
    """Send big mail until it is refused; return the recipients of what was taken."""
    taken: list[str] = []
    with Session(daemon) as session:
        while True:
            recipient = f"r{len(taken)}@example.com"
            reply = session.send(recipient)
            if not reply.startswith("250"):
                assert reply.startswith(FULL)
                return taken
            taken.append(recipient)


def suspended(daemon: Daemon) -> None:
    assert postroom(daemon, "delivery", "suspend")[0] == 0
    daemon.wait_until(lambda: {queue.state for queue in daemon.status().queues} == {"suspended"})


def lengths(content: Path) -> dict[str, int]:
    """Return the files of a content directory and their lengths."""
    return {path.name: path.stat().st_size for path in content.iterdir()}


def has_room(daemon: Daemon) -> bool:
    with Session(daemon) as session:
        return session.send("probe@example.com", b"Subject: probe\r\n\r\nx\r\n").startswith("250")


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.seed(16)
def test_mail_that_fills_a_disk_is_refused_in_time_and_flows_again_once_it_is_delivered(
    kind: str,
) -> None:
    with SmallDisk(kind) as disk, SinkThread() as sink:
        daemon = Daemon(relay=sink.port, queues=1, config=LISTEN, spool=SPOOL)
        content = place(daemon, disk, 1)
        with daemon:
            suspended(daemon)
            taken = fill_by_mail(daemon)
            assert len(taken) > 20
            assert disk.free_octets > RESERVE - MIB
            before = lengths(content)
            with Session(daemon) as session:
                # With its size announced, at MAIL; without, once the size is known.
                assert session.send("late@example.com").startswith(FULL)
                assert session.send("late@example.com", announce=False).startswith(FULL)
            assert lengths(content) == before, "nothing of a refused message is written"
            words = ("inject", "-f", "a@example.org", "-r", "late@example.com")
            code, out = postroom(daemon, *words, stdin=BIG.decode())
            assert code == 75 and FULL in out
            assert daemon.recipients_left() == len(taken)

            assert postroom(daemon, "delivery", "resume")[0] == 0
            sink.wait_for(len(taken), 60)
            daemon.wait_until(lambda: daemon.recipients_left() == 0, what="all is delivered")
            assert sorted(sink.recipients) == sorted(taken)
            # Without a restart, and although the segment was never filled to its size.
            daemon.wait_until(lambda: disk.free_octets > RESERVE + 10 * MIB, what="room again")
            daemon.wait_until(lambda: has_room(daemon), what="mail is taken again")
            taken = fill_by_mail_again(daemon, sink)
            assert daemon.stop() == 0
            assert postroom(daemon, "fsck")[0] == 0


def fill_by_mail_again(daemon: Daemon, sink: SinkThread) -> list[str]:
    """Send more mail than fits on the disk at once, while it is delivered."""
    taken: list[str] = []
    deadline = 120 * len(BIG) // MIB + 20

    def one_more() -> bool:
        with Session(daemon) as session:
            while len(taken) < 120:
                if not session.send(f"again{len(taken)}@example.com").startswith("250"):
                    return False
                taken.append(f"again{len(taken)}@example.com")
        return True

    daemon.wait_until(one_more, deadline, "the disk is used over and over")
    sink.wait_for(lambda messages: set(taken) <= {r for m in messages for r in m.recipients}, 60)
    daemon.wait_until(lambda: daemon.recipients_left() == 0, what="all is delivered")
    return taken


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.seed(16)
def test_a_disk_that_others_fill_to_the_last_octet_costs_no_acknowledged_mail(kind: str) -> None:
    with SmallDisk(kind) as disk, SinkThread() as sink:
        daemon = Daemon(relay=sink.port, queues=1, config=LISTEN, spool=SPOOL)
        content = place(daemon, disk, 1)
        with daemon:
            suspended(daemon)
            taken = [f"r{number}@example.com" for number in range(5)]
            daemon.send_each("a@example.org", taken)
            before = lengths(content)
            with Session(daemon) as session:
                # Taken at MAIL while there was room; then the disk is filled behind our back.
                session.begin("late@example.com")
                disk.fill()
                assert session.content(BIG).startswith(FULL)
                assert lengths(content) == before, "no partial message, no segment just begun"
                for _ in range(3):
                    assert session.send("late@example.com").startswith(FULL)
                    assert session.send("late@example.com", b"Subject: s\r\n\r\n").startswith(FULL)
            assert lengths(content) == before
            # Everything dies. Where nothing at all can be written a queue may stay closed; it
            # is opened once there is room, without anybody's help, and has what it had.
            daemon.kill_all()
            daemon.start(queues_down=None)
            disk.make_room()
            daemon.wait_until(lambda: daemon.queue(1).state == "suspended", 40, "it is open")
            assert daemon.recipients_left() == len(taken)
            assert daemon.events("defect") == []
            daemon.wait_until(lambda: has_room(daemon), what="mail is taken again")
            assert postroom(daemon, "delivery", "resume")[0] == 0
            sink.wait_for(len(taken) + 1)
            assert set(taken) < set(sink.recipients) and "late@example.com" not in sink.recipients
            daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")
            assert daemon.stop() == 0
            assert postroom(daemon, "fsck")[0] == 0


@pytest.mark.seed(16)
def test_outcomes_are_kept_and_reports_sent_while_the_disk_is_full_to_new_mail() -> None:
    rules = ("rcpt=*@refused.example reply=550 5.1.1 No such user",)
    with SmallDisk() as disk, SinkThread(*rules) as sink:
        daemon = Daemon(relay=sink.port, queues=1, config=LISTEN, spool=SPOOL)
        place(daemon, disk, 1)
        with daemon:
            suspended(daemon)
            refused = [f"r{number}@refused.example" for number in range(20)]
            daemon.send_each("a@example.org", refused)
            # Others take what new mail might have had, but for the reserve.
            disk.fill(RESERVE - MIB)
            daemon.wait_until(lambda: not daemon.queue(1).room, what="no room for new mail")
            assert not has_room(daemon)
            assert postroom(daemon, "delivery", "resume")[0] == 0
            reports = sink.wait_for(len(refused))
            assert {message.reverse_path for message in reports} == {""}
            assert set(sink.recipients) == {"a@example.org"}
            about = b"".join(message.octets for message in reports)
            assert all(recipient.encode() in about for recipient in refused)
            daemon.wait_until(lambda: daemon.recipients_left() == 0, what="all is settled")
            assert not has_room(daemon)
            assert daemon.events("store-failed") == []
            assert daemon.stop() == 0
            # Nothing of it comes twice: the outcomes are on the disk.
            daemon.start()
            assert daemon.recipients_left() == 0
            assert len(sink.recipients) == len(refused)


@pytest.mark.parametrize("full", [1, 2])
@pytest.mark.seed(16)
def test_a_worker_whose_disk_is_full_leaves_new_mail_to_the_others(full: int) -> None:
    with SmallDisk() as disk, SinkThread("rcpt=* reply=450 4.2.0 later") as sink:
        daemon = Daemon(relay=sink.port, queues=2, config=LISTEN + SLOW_RETRY, spool=SPOOL)
        content = place(daemon, disk, full)
        other = 3 - full
        with daemon, Session(daemon) as one, Session(daemon) as two:
            open_sessions = (one, two)  # one with each worker
            disk.fill(RESERVE - MIB)
            daemon.wait_until(lambda: not daemon.queue(full).room, what="the board says so")
            before = lengths(content)
            for number in range(40):
                with Session(daemon) as session:
                    assert session.send(f"r{number}@example.com").startswith("250")
            assert daemon.counts(full)["messages"] == 0 and lengths(content) == before
            assert daemon.counts(other)["messages"] == 40
            # Sessions that are open with it go on: what they bring is handed over.
            replies = [each.send("open@example.com") for each in open_sessions]
            assert all(reply.startswith("250") for reply in replies)
            assert daemon.counts(full)["messages"] == 0 and lengths(content) == before
            assert daemon.counts(other)["messages"] == 42
            for _ in range(10):
                assert postroom(daemon, "inject", stdin=INJECTED)[0] == 0
            assert daemon.counts(full)["messages"] == 0
            _, out = postroom(daemon, "status")
            [line] = [line for line in out.splitlines() if line.startswith(f"queue{full} ")]
            assert "no room for new mail" in line
            assert "no room" not in out.replace(line, "")

            disk.make_room()
            daemon.wait_until(lambda: daemon.queue(full).room > 0, what="there is room")
            for number in range(20):
                with Session(daemon) as session:
                    assert session.send(f"back{number}@example.com").startswith("250")
            assert daemon.counts(full)["messages"] > 0, "it takes its share again"
            assert len({message["id"] for message in listed(daemon)}) == 40 + 2 + 10 + 20


@pytest.mark.seed(16)
def test_with_every_disk_full_mail_is_refused_and_kept_by_the_sender() -> None:
    with SmallDisk() as one, SmallDisk() as two, SinkThread() as sink:
        daemon = Daemon(relay=sink.port, queues=2, config=LISTEN, spool=SPOOL)
        contents = [place(daemon, disk, number) for number, disk in ((1, one), (2, two))]
        with daemon:
            one.fill(RESERVE - MIB)
            two.fill()
            daemon.wait_until(lambda: {q.room for q in daemon.status().queues} == {0}, what="full")
            before = [lengths(content) for content in contents]
            for _ in range(10):
                with Session(daemon) as session:
                    assert session.send("late@example.com").startswith(FULL)
            code, out = postroom(daemon, "inject", stdin=INJECTED)
            assert code == 75 and FULL in out
            assert [lengths(content) for content in contents] == before
            assert daemon.recipients_left() == 0
            two.make_room()
            daemon.wait_until(lambda: daemon.queue(2).room > 0, what="one has room")
            daemon.send("a@example.org", ["b@example.com"])
            sink.wait_for(1)
