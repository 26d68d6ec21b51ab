"""The Python client against a real intake socket."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from postroom.client import Client, NotAccepted, Unavailable
from postroom.client.queues import Queues
from postroom.control.paths import RunPaths, bind_unix, connect_unix
from postroom.core.clock import ManualClock, SystemClock
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId, QueueIdGenerator
from postroom.core.ids import encode as encode_id
from postroom.core.message import Envelope, Notify, Provenance, Recipient
from postroom.core.reply import Reply
from postroom.ingress.local import LocalIntake
from postroom.ingress.local_protocol import LENGTH_OCTETS, Submission, decode_answer, encode
from postroom.ingress.policy import ListenPolicy
from postroom.observe.board import Board, BoardRow, WorkerState, create_board


class Keeper:
    """Takes mail as the engine's intake does, into a list."""

    def __init__(self, refusal: Reply | None = None, failure: Reply | None = None) -> None:
        import random

        self.refusal, self.failure = refusal, failure
        self.kept: dict[QueueId, tuple[Envelope, bytes, Provenance]] = {}
        self.terms: dict[QueueId, tuple[float, str]] = {}
        self._ids = QueueIdGenerator(random.Random(1))

    def ready(self, size_octets: int) -> Reply | None:
        return self.refusal

    def new_id(self) -> QueueId:
        return self._ids.next(ManualClock().now())

    def accept(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        *,
        repeated: bool = False,
        arrived_at: float = 0.0,
        hold: str = "",
    ) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.failure is not None:
            future.set_exception(StoreUnavailable(self.failure))
        else:
            self.kept.setdefault(queue_id, (envelope, b"".join(content), provenance))
            self.terms[queue_id] = (arrived_at, hold)
            asyncio.get_running_loop().call_soon(future.set_result, None)
        return future

    def accept_here(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        hold: str,
    ) -> asyncio.Future[None]:
        return self.accept(queue_id, envelope, content, provenance, hold=hold)


@contextlib.asynccontextmanager
async def intake(
    base: Path, keeper: Keeper, number: int = 1, policy: ListenPolicy | None = None
) -> AsyncIterator[LocalIntake]:
    listener = bind_unix(RunPaths(base).intake(number))
    server = LocalIntake(
        listener, keeper, policy or ListenPolicy(), "mail.example.org", SystemClock()
    )
    await server.start()
    try:
        yield server
    finally:
        await server.close()


CONTENT = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nhello\r\n"


def test_a_message_is_kept_byte_for_byte_under_one_received_header(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = Keeper()
        async with intake(tmp_path, keeper):
            with Client(tmp_path) as client:
                queue_id = await client.asend(CONTENT, sender="a@example.org", recipients="b@x.net")
                again = await asyncio.to_thread(
                    client.send, CONTENT, sender="", recipients=["c@x.net"], notify="failure,delay"
                )
        assert set(keeper.kept) == {queue_id, again}
        envelope, content, provenance = keeper.kept[QueueId(queue_id)]
        assert envelope == Envelope("a@example.org", (Recipient("b@x.net"),))
        header, _, rest = content.partition(f"id {queue_id}; ".encode())
        assert header.startswith(b"Received: by mail.example.org (Postroom, from user ")
        assert rest.partition(b"\r\n")[2] == CONTENT
        assert provenance.user == getpass.getuser()
        second = keeper.kept[QueueId(again)][0]
        assert second.reverse_path == ""
        assert second.recipients[0].notify == Notify.FAILURE | Notify.DELAY

    asyncio.run(main())


def test_one_connection_serves_many_messages_and_a_restart_of_the_queue(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = Keeper()
        client = Client(tmp_path)
        async with intake(tmp_path, keeper) as server:
            for _ in range(3):
                await client.asend(CONTENT, sender="a@x.org", recipients="b@x.net")
            assert len(server.sessions) == 1
        async with intake(tmp_path, keeper):
            await client.asend(CONTENT, sender="a@x.org", recipients="b@x.net")
        assert len(keeper.kept) == 4
        client.close()

    asyncio.run(main())


def test_a_blocking_client_uses_its_connection_again_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = Keeper()
        client = Client(tmp_path, timeout_s=5.0)
        async with intake(tmp_path, keeper) as server, asyncio.timeout(2.5):
            for _ in range(3):
                await asyncio.to_thread(client.send, CONTENT, sender="", recipients="b@x.net")
                assert len(server.sessions) == 1
        assert len(keeper.kept) == 3
        client.close()

    asyncio.run(main())


def test_recipients_of_the_header_are_used_and_bcc_is_removed(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = Keeper()
        message = EmailMessage()
        message["From"] = "Anna <a@example.org>"
        message["To"] = "Bob <b@example.net>, c@example.net"
        message["Bcc"] = "d@example.net"
        message.set_content("hello\nworld\n")
        async with intake(tmp_path, keeper):
            await Client(tmp_path).asend(message)
            await Client(tmp_path).asend(message, recipients=["e@example.net"])
        first, second = keeper.kept.values()
        assert [r.address for r in first[0].recipients] == [
            "b@example.net",
            "c@example.net",
            "d@example.net",
        ]
        assert first[0].reverse_path == "a@example.org"
        assert b"Bcc" not in first[1] and b"Bcc: d@example.net" in second[1]
        assert first[1].endswith(b"hello\r\nworld\r\n")

    asyncio.run(main())


def test_lone_line_feeds_are_made_whole(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = Keeper()
        async with intake(tmp_path, keeper):
            await Client(tmp_path).asend("Subject: é\n\nhé\nb", sender="", recipients="b@x.net")
        ((envelope, content, _),) = keeper.kept.values()
        assert content.endswith("Subject: é\r\n\r\nhé\r\nb\r\n".encode())
        assert envelope.eight_bit and envelope.smtputf8

    asyncio.run(main())


def test_a_refusal_for_good_is_told_and_one_for_now_sends_to_the_next_queue(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        full = Keeper(refusal=Reply(452, "4.3.1", "insufficient system storage"))
        broken = Keeper(failure=Reply(451, "4.3.0", "disk"))
        healthy = Keeper()
        async with intake(tmp_path, full, 1), intake(tmp_path, broken, 2):
            with pytest.raises(NotAccepted) as failure:
                await Client(tmp_path).asend(CONTENT, sender="", recipients="b@x.net")
            assert failure.value.reply.is_transient
            async with intake(tmp_path, healthy, 3):
                client = Client(tmp_path)
                for _ in range(5):
                    await client.asend(CONTENT, sender="", recipients="b@x.net")
                with pytest.raises(NotAccepted) as failure:
                    await client.asend(CONTENT, sender="", recipients="b@x.net>\r\nDATA")
                assert failure.value.reply.enhanced == "5.1.3"
        assert len(healthy.kept) == 5 and not full.kept and not broken.kept

    asyncio.run(main())


def test_the_least_loaded_live_queue_is_asked_first(tmp_path: Path) -> None:
    async def main() -> None:
        keepers = [Keeper() for _ in range(3)]
        clock = SystemClock()
        async with contextlib.AsyncExitStack() as stack:
            for number, keeper in enumerate(keepers, 1):
                await stack.enter_async_context(intake(tmp_path, keeper, number))
            create_board(RunPaths(tmp_path).board, 3)
            board = Board(RunPaths(tmp_path).board, writable=True)
            now, up = clock.now(), WorkerState.RUNNING
            board.write(0, BoardRow(pid=1, queue=1, state=up, heartbeat=now - 60, concurrency=100))
            board.write(
                1, BoardRow(pid=1, queue=2, state=up, heartbeat=now, active=90, concurrency=100)
            )
            board.write(
                2, BoardRow(pid=1, queue=3, state=up, heartbeat=now, active=1, concurrency=100)
            )
            for _ in range(5):
                await Client(tmp_path).asend(CONTENT, sender="", recipients="b@x.net")
        assert [len(keeper.kept) for keeper in keepers] == [0, 0, 5]

    asyncio.run(main())


def test_without_a_daemon_the_client_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="postroom serve"):
        Client(tmp_path).send(CONTENT, sender="", recipients="b@x.net")
    bind_unix(RunPaths(tmp_path).intake(1)).close()
    with pytest.raises(Unavailable, match="can be reached"):
        Client(tmp_path).send(CONTENT, sender="", recipients="b@x.net")


def test_a_lost_answer_is_asked_for_again_under_the_same_id(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = Keeper()
        listener = bind_unix(RunPaths(tmp_path).intake(1))

        def die_after_reading() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()
            listener.close()

        listener.setblocking(True)
        dying = asyncio.create_task(asyncio.to_thread(die_after_reading))
        sending = asyncio.create_task(Client(tmp_path).asend(CONTENT, recipients="b@x.net"))
        await dying
        async with intake(tmp_path, keeper):
            queue_id = await sending
        assert list(keeper.kept) == [queue_id]

    asyncio.run(main())


def test_a_bare_newline_or_a_flood_of_hops_is_refused_by_the_socket(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = Keeper()
        envelope = Envelope("", (Recipient("b@x.net"),))
        async with intake(tmp_path, keeper, policy=ListenPolicy(size_limit_octets=20_000)):
            client = Client(tmp_path)
            for content, code in (
                (b"a\nb\r\n", "5.6.11"),
                (b"Received: x\r\n" * 101 + b"\r\n", "5.4.6"),
                (b"x" * 20_001, "5.3.4"),
            ):
                with pytest.raises(NotAccepted) as failure:
                    await client.asubmit(envelope, content)
                assert failure.value.reply.enhanced == code
            await client.asubmit(envelope, b"fine\r\n")
        assert len(keeper.kept) == 1

    asyncio.run(main())


def test_messages_sent_ahead_are_answered_in_order(tmp_path: Path) -> None:
    def talk(path: Path) -> list[str]:
        connection = connect_unix(path, 5.0)
        ids = [f"{number:016d}" for number in range(100)]
        envelope = Envelope("", (Recipient("b@x.net"),))
        frames = [encode(Submission(envelope, 4, queue_id)) + b"ab\r\n" for queue_id in ids]
        connection.sendall(b"".join(frames))
        connection.shutdown(socket.SHUT_WR)
        octets = b""
        while piece := connection.recv(65536):
            octets += piece
        answers = []
        while octets:
            end = LENGTH_OCTETS + int.from_bytes(octets[:LENGTH_OCTETS], "big")
            answers.append(decode_answer(octets[LENGTH_OCTETS:end]).id)
            octets = octets[end:]
        assert answers == ids
        return answers

    async def main() -> None:
        keeper = Keeper()
        async with intake(tmp_path, keeper):
            await asyncio.to_thread(talk, RunPaths(tmp_path).intake(1))
        assert len(keeper.kept) == 100

    asyncio.run(main())


def test_octets_that_are_no_submission_are_answered_and_the_connection_ends(
    tmp_path: Path,
) -> None:
    def talk(path: Path) -> bytes:
        connection = connect_unix(path, 5.0)
        connection.sendall(b"HELO there\r\n")
        octets = b""
        while piece := connection.recv(65536):
            octets += piece
        return octets

    async def main() -> None:
        async with intake(tmp_path, Keeper()):
            octets = await asyncio.to_thread(talk, RunPaths(tmp_path).intake(1))
        reply = decode_answer(octets[LENGTH_OCTETS:]).reply
        assert reply is not None and reply.code == 500

    asyncio.run(main())


def test_a_socket_deep_in_the_file_system_is_reached(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = Keeper()
        base = tmp_path / ("d" * 100) / ("e" * 100)
        async with intake(base, keeper):
            await Client(base).asend(CONTENT, sender="", recipients="b@x.net")
        assert len(keeper.kept) == 1

    asyncio.run(main())


def test_importing_the_client_imports_nothing_heavy() -> None:
    heavy = "{'asyncio', 'apsw', 'email', 'ssl', 'cryptography', 'dns', 'argparse'}"
    program = f"import sys; from postroom import Client; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    )
    assert done.stdout.strip() == "[]"


def test_mail_taken_over_keeps_its_id_its_time_of_arrival_and_its_hold(tmp_path: Path) -> None:
    async def main() -> None:
        keeper, queue_id = Keeper(), QueueId("0" * 16)
        envelope = Envelope("a@x.org", (Recipient("b@x.net"),))

        def transfer(arrived_at: float) -> str:
            with Client(tmp_path) as client:
                return client.transfer(queue_id, envelope, CONTENT, arrived_at=arrived_at, hold="h")

        async with intake(tmp_path, keeper):
            assert await asyncio.to_thread(transfer, 1234.5) == queue_id
            assert keeper.terms == {queue_id: (1234.5, "h")}
            for wrong in (9e9, -1.0, float("nan")):
                with pytest.raises(NotAccepted, match="arrival time"):
                    await asyncio.to_thread(transfer, wrong)

    asyncio.run(main())


def test_the_queues_asked_for_an_id_come_in_the_same_order_each_time(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    paths.directory.mkdir(parents=True)
    for number in range(1, 6):
        paths.intake(number).touch()
    ids = [encode_id(1_700_000_000_000 + number, 1, number) for number in range(40)]
    orders = [[path.name for path in Queues(tmp_path).in_order_of(one)] for one in ids]
    assert orders == [[path.name for path in Queues(tmp_path).in_order_of(one)] for one in ids]
    assert len({order[0] for order in orders}) == 5
    assert all(len(set(order)) == 5 for order in orders)


def test_a_queue_whose_backlog_is_full_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    """Its worker hangs: nobody takes connections, and more than a few do not fit."""
    run = RunPaths(tmp_path)
    run.directory.mkdir(mode=0o700)
    hung = socket.socket(socket.AF_UNIX)
    hung.bind(str(run.intake(1)))
    hung.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect(str(run.intake(1)))
        waiting.append(one)

    async def story() -> None:
        with Client(tmp_path, timeout_s=30) as client, pytest.raises(Unavailable):
            await client.asend(b"Subject: x\r\n\r\n", sender="a@b.c", recipients="d@e.f")

    asyncio.run(asyncio.wait_for(story(), 20))
    for one in (*waiting, hung):
        one.close()
