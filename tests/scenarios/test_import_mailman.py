"""A queue that a real Mailman wrote moves to us, and arrives as Mailman would have sent it.

The same queue is copied: from the one Mailman delivers, from the other we do, each to a sink.
What Mailman would still have changed (footers, personalised copies) is told and stays.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from postroom.sink.recorder import Received
from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.mailman_peer import Mailman, Missing
from tests.support.moving import CONTENT, said, snapshot
from tests.support.sink import SinkThread

pytestmark = pytest.mark.peer

OTHER = (
    b"From: <a@a.example>\r\nTo: <my.list@lists.old.example>\r\nMessage-ID: <NAME@a.example>\r\n"
    b"Subject: NAME\r\n\r\nbody\r\n"
)
REFUSED = ("<footer@a.example>", "<personal@a.example>", "full@lists.old.example")
"""In the mail that Mailman alone can finish."""


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    """Give a var directory with mail in out, retry (one as a crash leaves it) and in."""
    with SinkThread("rcpt=later*@* reply=451 4.2.0 not now") as sink:
        try:
            mailman = Mailman(tmp_path / "var", sink.port)
        except Missing as error:
            pytest.skip(str(error))
        mailman.run("fill", stdin=CONTENT + b"\0" + OTHER)
        assert [one.recipients for one in sink.messages] == [("done@b.example",)]
    [deferred] = (tmp_path / "var" / "queue" / "retry").iterdir()
    deferred.rename(deferred.with_suffix(".bak"))
    yield tmp_path / "var"


def copies(messages: Iterable[Received]) -> list[tuple[str, str, str]]:
    """Return reverse-path, recipient and content of each copy that arrived."""
    found = [
        (one.reverse_path, recipient, one.content)
        for one in messages
        for recipient in one.recipients
    ]
    return sorted(found, key=lambda copy: (*copy[:2], copy[2].partition("Message-ID: ")[2]))


def without_trace(content: str) -> str:
    """Return content without the Received field that we add at its top."""
    assert content.startswith("Received: by ")
    _, end, rest = content.partition(" +0000\r\n")
    assert end
    return rest


def test_a_queue_of_mailman_arrives_as_mailman_sends_it(var: Path) -> None:
    theirs = var.with_name("theirs")
    shutil.copytree(var, theirs)
    with SinkThread() as sink:
        mailman = Mailman(theirs, sink.port)
        mailman.run("deliver")
        sent = copies(sink.messages)
        expected = [one for one in sent if not any(mark in one[2] for mark in REFUSED)]
    began = time.time()
    before = snapshot(var)
    with SinkThread() as sink, Daemon(relay=sink.port) as server:
        command = ("import", "--from", "mailman", "--json", str(var))
        runner = mailman.start_runner("retry")
        try:
            code, out = postroom(server, *command)
            assert code == 75 and f"process {runner.pid} is a runner of Mailman" in out, out
        finally:
            runner.kill()
            runner.wait()
        assert postroom(server, "delivery", "suspend")[0] == 0
        code, out = postroom(server, *command)
        assert code == 1, out
        assert out.count("adds the list's footer") == 2, out
        # What welcomes the members of the personalised list.
        assert out.count("its list is personalised") == 3, out
        assert '"queue/in"' in out and "1 file: Mailman must process it itself" in out
        assert said(out)["problems"] == 6
        assert snapshot(var) == before
        waiting = {tuple(sorted(r["address"] for r in one["recipients"])) for one in listed(server)}
        # The copies of the deferred posting that were left, in one message again.
        assert ("later+two@b.example", "later.one@b.example") in waiting
        assert all(began - 600 < one["arrived_at"] < began + 600 for one in listed(server))
        count = len(listed(server))
        assert said(out)["messages"] == count
        code, out = postroom(server, *command)
        assert code == 1 and said(out)["already"] == count and said(out)["messages"] == 0
        assert postroom(server, "delivery", "resume")[0] == 0
        server.wait_until(lambda: server.recipients_left() == 0, what="delivered")
        arrived = copies(sink.messages)
    assert [(*one[:2], without_trace(one[2])) for one in arrived] == expected
    reverse_paths = {one[0] for one in arrived}
    assert reverse_paths == {
        "my.list-bounces@lists.old.example",
        "my.list-bounces+later.owner=c.example@lists.old.example",
    }
    assert any("\r\n>From here\r\n" in one[2] for one in arrived)
    assert len(arrived) < len(sent)
