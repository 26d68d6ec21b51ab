"""The control socket: requests are answered, refused or bounded, and nothing else happens."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.control.answers import Changed, Pong
from postroom.control.client import AsyncControlClient, ControlClient, ServerUnavailable
from postroom.control.commands import COMMANDS, MailListArgs, NoArgs, StopArgs
from postroom.control.paths import RunPaths
from postroom.control.protocol import LINE_OCTETS_MAX, ControlError
from postroom.control.server import ControlServer
from postroom.observe.events import Defect, EventList


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pr") as directory:
        yield Path(directory)


async def ping(_args: NoArgs) -> Pong:
    return Pong(pid=1, queue=3, version="x", generation=7)


async def stop(args: StopArgs) -> Changed:
    if args.now:
        raise ControlError("not now", "later", "refused")
    return Changed(1)


async def listing(args: MailListArgs) -> AsyncIterator[dict[str, int]]:
    for number in range(args.limit):
        yield {"number": number}


async def broken(_args: NoArgs) -> None:
    raise RuntimeError("surprise")


HANDLERS: dict[str, Any] = {
    "ping": ping,
    "stop": stop,
    "mail list": listing,
    "mail count": broken,
}


def with_server(path: Path, work: Callable[[], object], events: EventList | None = None) -> None:
    """Run `work` in a thread while a server answers."""

    async def run() -> None:
        server = ControlServer(path, HANDLERS, events or EventList())
        await server.start()
        try:
            await asyncio.to_thread(work)
        finally:
            await server.close()

    asyncio.run(run())


def with_async_server(path: Path, work: Callable[[], Awaitable[object]]) -> None:
    async def run() -> None:
        server = ControlServer(path, HANDLERS, EventList())
        await server.start()
        try:
            await work()
        finally:
            await server.close()

    asyncio.run(run())


def test_a_command_is_answered_with_a_typed_result(base: Path) -> None:
    path = RunPaths(base).control

    def work() -> None:
        with ControlClient(path, 5) as client:
            assert client.call("ping", type=Pong) == Pong(1, 3, "x", 7)
            assert client.call("stop", StopArgs()) == {"count": 1}

    with_server(path, work)


def test_a_listing_comes_item_by_item_and_the_connection_is_good_for_more(base: Path) -> None:
    path = RunPaths(base).control

    def work() -> None:
        with ControlClient(path, 5) as client:
            items = list(client.stream("mail list", MailListArgs(limit=500)))
            assert [item["number"] for item in items] == list(range(500))
            assert client.call("ping", type=Pong).pid == 1

    with_server(path, work)


def test_the_asynchronous_client_speaks_the_same(base: Path) -> None:
    path = RunPaths(base).control

    async def work() -> None:
        async with AsyncControlClient(path, 5) as client:
            assert (await client.call("ping", type=Pong)).queue == 3
            items = [item async for item in client.stream("mail list", MailListArgs(limit=3))]
            assert len(items) == 3

    with_async_server(path, work)


def test_a_refusal_carries_error_hint_and_code(base: Path) -> None:
    path = RunPaths(base).control

    def work() -> None:
        with ControlClient(path, 5) as client:
            with pytest.raises(ControlError) as refusal:
                client.call("stop", StopArgs(now=True))
            assert (refusal.value.error, refusal.value.hint) == ("not now", "later")
            assert refusal.value.code == "refused"

    with_server(path, work)


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ("dance", None, "unknown command 'dance'"),
        ("stop", {"now": "yes"}, "Expected `bool`"),
        ("stop", {"never": True}, "unknown field `never`"),
    ],
)
def test_a_wrong_request_is_a_usage_error(
    base: Path, command: str, args: object, expected: str
) -> None:
    path = RunPaths(base).control

    def work() -> None:
        with ControlClient(path, 5) as client:
            with pytest.raises(ControlError, match=expected) as refusal:
                client.call(command, args)
            assert refusal.value.code == "usage"

    with_server(path, work)


def test_text_that_is_no_request_is_a_usage_error(base: Path) -> None:
    path = RunPaths(base).control

    def work() -> None:
        with ControlClient(path, 5) as client:
            client._send(b"hello\n")
            with pytest.raises(ControlError, match="not a request"):
                client._answer()

    with_server(path, work)


def test_a_request_longer_than_the_limit_is_refused_and_the_server_lives(base: Path) -> None:
    path = RunPaths(base).control

    def work() -> None:
        with ControlClient(path, 5) as client, pytest.raises(ControlError):
            client._send(b"x" * (LINE_OCTETS_MAX * 2 + 10))
            client._answer()
        with ControlClient(path, 5) as client:
            assert client.call("ping", type=Pong).pid == 1

    with_server(path, work)


def test_a_handler_that_raises_ends_only_its_request_and_leaves_an_event(base: Path) -> None:
    path, events = RunPaths(base).control, EventList()

    def work() -> None:
        with ControlClient(path, 5) as client:
            with pytest.raises(ControlError, match="surprise"):
                client.call("mail count")
            assert client.call("ping", type=Pong).pid == 1

    with_server(path, work, events)
    assert [type(event) for event in events.events] == [Defect]


def test_the_socket_is_private_and_goes_away_with_the_server(base: Path) -> None:
    path = RunPaths(base).control

    def work() -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    with_server(path, work)
    assert not path.exists()


def test_a_socket_left_by_a_dead_server_is_replaced(base: Path) -> None:
    path = RunPaths(base).control
    path.parent.mkdir(mode=0o700)
    path.touch()
    with_server(path, lambda: ControlClient(path, 5).close())


def test_a_path_far_longer_than_a_socket_address_works(base: Path) -> None:
    deep = base / ("d" * 100) / ("e" * 100)
    path = RunPaths(deep).control
    before = os.getcwd()

    def work() -> None:
        with ControlClient(path, 5) as client:
            assert client.call("ping", type=Pong).pid == 1

    with_server(path, work)
    assert os.getcwd() == before


def test_nobody_listening_is_told_with_what_to_do(base: Path) -> None:
    with pytest.raises(ServerUnavailable) as refusal:
        ControlClient(RunPaths(base).control, 1)
    assert "postroom serve" in refusal.value.hint


def test_command_names_are_unique_and_have_help() -> None:
    names = [command.name for command in COMMANDS]
    assert len(names) == len(set(names))
    assert all(command.help for command in COMMANDS)
