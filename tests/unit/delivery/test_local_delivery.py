"""Maildir, pipe, discard, and the order of hops."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

import pytest

from postroom.core.message import Envelope, OutcomeKind, Recipient
from postroom.delivery.agent import RoutedAgent
from postroom.delivery.attempt import AttemptReport, FailureScope
from postroom.delivery.hop_order import order_hops
from postroom.delivery.line_ends import LineEnds
from postroom.delivery.lmtp import lmtp_hop
from postroom.routing.destination import NextHop
from postroom.routing.policy import (
    DiscardRoute,
    MaildirRoute,
    MxRoute,
    PipeRoute,
    RelayHost,
    RelayRoute,
    RoutePolicy,
)
from tests.unit.delivery.scripted_server import an_agent, an_attempt

DELIVERED, DEFERRED, FAILED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.FAILED


def deliver(
    route: RoutePolicy, *addresses: str, content: bytes = b"S: x\r\n\r\nbody\r\n"
) -> AttemptReport:
    agent: RoutedAgent = an_agent()
    return asyncio.run(agent.deliver(an_attempt((), *addresses, content=content, route=route)))


def kinds(report: AttemptReport) -> list[OutcomeKind]:
    return [outcome.kind for outcome in report.outcomes]


def test_a_maildir_gets_one_whole_file_per_recipient(tmp_path: Path) -> None:
    route = MaildirRoute("m", f"{tmp_path}/{{domain}}/{{local}}")
    report = deliver(route, "ann@A.test", "bob@a.test")
    assert kinds(report) == [DELIVERED, DELIVERED]
    (file,) = (tmp_path / "a.test" / "ann" / "new").iterdir()
    assert file.read_bytes() == (
        b"Return-Path: <from@b.test>\nDelivered-To: ann@A.test\nS: x\n\nbody\n"
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a.test").stat().st_mode & 0o777 == 0o700
    assert not list((tmp_path / "a.test" / "ann" / "tmp").iterdir())


@pytest.mark.parametrize(
    "address", ["../x@a.test", "a/b@a.test", ".hidden@a.test", "@a.test", "x@..", "a\0b@a.test",
                "x" * 300 + "@a.test"]
)  # fmt: skip
def test_no_address_leads_out_of_the_maildir(tmp_path: Path, address: str) -> None:
    report = deliver(MaildirRoute("m", f"{tmp_path}/in/{{domain}}/{{local}}"), address)
    assert kinds(report) == [FAILED]
    assert report.outcomes[0].reply.enhanced == "5.1.3"
    assert list(tmp_path.iterdir()) == []


def test_a_maildir_that_cannot_be_written_defers_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "box").write_text("a file in the way")
    report = deliver(MaildirRoute("m", f"{tmp_path}/box"))
    assert (kinds(report), report.scope) == ([DEFERRED], FailureScope.RECIPIENT)


def test_cr_and_lf_in_different_pieces_make_one_line_end() -> None:
    line_ends = LineEnds()
    pieces = [b"a\r", b"\nb\r", b"c\r", b"", b"\n\r"]
    assert b"".join(map(line_ends.to_lf, pieces)) + line_ends.end() == b"a\nb\rc\n\r"


def script(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "program.py"
    path.write_text(text)
    return (sys.executable, "-S", str(path))


def test_a_program_gets_content_and_words_but_no_shell_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROOM_SECRET", "geheim")
    out = tmp_path / "out"
    command = script(
        tmp_path,
        "import os,sys\n"
        f"open({str(out)!r},'wb').write(sys.stdin.buffer.read() + repr(sys.argv[1:]).encode()"
        " + repr('POSTROOM_SECRET' in os.environ).encode())\n"
        "print('first'); print('stored as 7')\n",
    )
    report = deliver(
        PipeRoute("p", (*command, "-f", "{reverse_path}", "{address}")), "a;touch x@a.test"
    )
    assert kinds(report) == [DELIVERED]
    assert report.outcomes[0].reply.text.endswith("stored as 7")
    assert out.read_text() == (
        "Return-Path: <from@b.test>\nS: x\n\nbody\n['-f', 'from@b.test', 'a;touch x@a.test']False"
    )


@pytest.mark.parametrize(
    ("status", "kind", "enhanced"),
    [(75, DEFERRED, "4.3.0"), (67, FAILED, "5.1.1"), (64, DEFERRED, "4.3.5"),
     (1, DEFERRED, "4.3.0"), (77, FAILED, "5.7.0")],
)  # fmt: skip
def test_exit_statuses_are_those_of_sysexits(
    tmp_path: Path, status: int, kind: OutcomeKind, enhanced: str
) -> None:
    command = script(tmp_path, f"import sys\nprint('because')\nsys.exit({status})\n")
    report = deliver(PipeRoute("p", command), content=b"x" * 300_000)
    assert kinds(report) == [kind]
    assert report.outcomes[0].reply.enhanced == enhanced
    assert report.outcomes[0].reply.text.endswith("because")


def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    out = tmp_path / "pid"
    command = (
        "/bin/sh", "-c", f"sleep 600 & echo $! > {out}; wait",
    )  # fmt: skip
    report = deliver(PipeRoute("p", command, timeout_s=0.2))
    assert kinds(report) == [DEFERRED]
    pid = int(out.read_text())
    # A killed process is gone once it has had its turn on a processor.
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] not in "ZX"


def test_a_program_that_is_missing_is_our_failure() -> None:
    report = deliver(PipeRoute("p", ("/no/such/program",)))
    assert (kinds(report), report.scope) == ([DEFERRED], FailureScope.LOCAL)


def test_an_address_cannot_become_an_option_of_the_program(tmp_path: Path) -> None:
    report = deliver(PipeRoute("p", ("/bin/echo", "{local}")), "-n@a.test")
    assert (kinds(report), report.outcomes[0].reply.enhanced) == ([FAILED], "5.1.3")


def test_discarded_mail_is_delivered_for_all_we_say() -> None:
    assert kinds(deliver(DiscardRoute("d"), "a@a.test", "b@a.test")) == [DELIVERED, DELIVERED]


HOPS = (NextHop("a", 25, 1), NextHop("b", 25, 1), NextHop("spare", 25, 2))
RELAYS = (RelayHost("a", weight=70), RelayHost("b", weight=30), RelayHost("spare", tier=2))


def first(route: RoutePolicy, number: int = 1000) -> float:
    entropy = random.Random(7)
    orders = [order_hops(HOPS, route, entropy, lambda hop: hop.host == "a") for _ in range(number)]
    assert all(order[2].host == "spare" and len(set(order)) == 3 for order in orders)
    return sum(order[0].host == "a" for order in orders) / number


def test_hops_are_ordered_by_preference_then_by_policy() -> None:
    assert 0.45 < first(MxRoute()) < 0.55
    assert 0.67 < first(RelayRoute("r", RELAYS, "weighted")) < 0.73
    assert 0.45 < first(RelayRoute("r", RELAYS, "random")) < 0.55
    assert first(RelayRoute("r", RELAYS, "sequence")) == 1.0
    assert first(RelayRoute("r", RELAYS, "least-connections")) == 0.0


def test_a_relay_of_weight_nought_comes_last() -> None:
    relays = (RelayHost("a", weight=0), RelayHost("b", weight=1), RelayHost("spare", tier=2))
    assert first(RelayRoute("r", relays)) == 0.0


@pytest.mark.parametrize(
    ("text", "hop"),
    [("mx:2424", NextHop("mx", 2424)), ("[::1]:24", NextHop("::1", 24)), ("mx", NextHop("mx", 24)),
     ("unix:/run/lmtp", NextHop("unix:/run/lmtp", 0))],
)  # fmt: skip
def test_lmtp_addresses(text: str, hop: NextHop) -> None:
    assert lmtp_hop(text) == hop


@pytest.mark.parametrize("text", ["", ":24", "mx:x", "mx:0", "unix:relative"])
def test_what_is_no_lmtp_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        lmtp_hop(text)


def test_the_null_reverse_path_is_written_as_such(tmp_path: Path) -> None:
    attempt = an_attempt(
        (), route=MaildirRoute("m", str(tmp_path)), envelope=Envelope("", (Recipient("a@a.test"),))
    )
    asyncio.run(an_agent().deliver(attempt))
    (file,) = (tmp_path / "new").iterdir()
    assert file.read_bytes().startswith(b"Return-Path: <>\n")
    assert os.sep not in file.name
