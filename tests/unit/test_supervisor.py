"""The supervisor's parts: back-off, descriptors, reload, notify, listeners, links."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import msgspec
import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.config.model import Config
from postroom.ingress.policy import ListenPolicy
from postroom.observe.board import Board
from postroom.routing.policy import RelayHost, RelayRoute
from postroom.spool.policy import SpoolPolicy
from postroom.supervisor.backoff import Backoff
from postroom.supervisor.board_file import place_board, remove_board
from postroom.supervisor.descriptors import RESERVED, budget
from postroom.supervisor.link import Begin, Commit, LinkError, Ready, master_end, worker_end
from postroom.supervisor.listeners import BoundListeners
from postroom.supervisor.notify import Notifier
from postroom.supervisor.reload import effective
from postroom.supervisor.suspension import Suspension

CONFIG = Config(hostname="mail.example", spool=SpoolPolicy(base="/x"))


def test_a_worker_that_keeps_ending_waits_longer_each_time_and_at_most_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.after_exit(0.1) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_worker_that_ran_a_minute_starts_again_soon() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after_exit(0)
    assert backoff.after_exit(60) == 1
    assert backoff.restarts == 6


def test_limits_that_fit_the_descriptors_are_left_alone() -> None:
    fits = budget(4096, 1000, 500)
    assert (fits.sessions, fits.concurrency, fits.is_curbed) == (1000, 500, False)


@pytest.mark.parametrize(
    ("limit", "sessions", "concurrency"),
    [(256, 1000, 500), (1024, 1000, 100_000), (1024, 100_000, 10), (16, 5, 5), (600, 400, 400)],
)
def test_limits_that_do_not_fit_are_curbed_so_that_they_do(
    limit: int, sessions: int, concurrency: int
) -> None:
    curbed = budget(limit, sessions, concurrency)
    assert curbed.is_curbed
    assert curbed.sessions + curbed.concurrency + curbed.idle <= max(2, limit - RESERVED)
    assert 1 <= curbed.local <= limit // 8
    assert curbed.sessions >= 1
    assert curbed.concurrency >= 1


def test_a_reload_takes_what_it_can_and_names_what_needs_a_restart() -> None:
    smtp = ListenPolicy(name="smtp", address=("127.0.0.1:25",))
    running = msgspec.structs.replace(CONFIG, listen=(smtp, ListenPolicy(name="old")))
    wanted = msgspec.structs.replace(
        running,
        hostname="other.example",
        spool=SpoolPolicy(base="/y", count=7),
        listen=(
            msgspec.structs.replace(smtp, address=("127.0.0.1:26",), sessions_max=5),
            ListenPolicy(name="new"),
        ),
        channels=(ChannelPolicy(name="fast"), ChannelPolicy(name="default")),
    )
    config, pending = effective(running, wanted)
    assert set(pending) == {
        "spool.base", "spool.count", "listen.smtp.address", "listen.old", "listen.new",
        "hostname",
    }  # fmt: skip
    assert config.hostname == "mail.example"
    assert config.spool == running.spool
    assert config.listen[0].address == ("127.0.0.1:25",)
    assert config.listen[0].sessions_max == 5
    assert [channel.name for channel in config.channels] == ["fast", "default"]
    assert config.generation == running.generation + 1


def test_the_service_manager_hears_of_readiness_and_workers_do_not_inherit_its_socket(
    tmp_path: Path,
) -> None:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "n"))
    environment = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "4000000"}
    notifier = Notifier(environment)
    assert environment == {}
    assert notifier.watchdog_s == 2.0
    notifier.ready("fine")
    assert receiver.recv(1000).startswith(b"READY=1\nSTATUS=fine\n")
    notifier.stopping()
    assert receiver.recv(1000) == b"STOPPING=1"
    receiver.close()
    notifier.alive()


def test_without_a_service_manager_nothing_is_sent() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid() + 1)})
    notifier.ready("fine")
    assert notifier.watchdog_s == 0


def test_port_0_shows_the_port_it_became() -> None:
    listeners = BoundListeners([ListenPolicy(name="a", address=("127.0.0.1:0",))])
    [address] = listeners.addresses
    port = int(address.rpartition(":")[2])
    assert port > 0
    socket.create_connection(("127.0.0.1", port)).close()
    listeners.close()


def test_an_address_in_use_is_named() -> None:
    first = BoundListeners([ListenPolicy(address=("127.0.0.1:0",))])
    with pytest.raises(OSError, match=first.addresses[0]):
        BoundListeners([ListenPolicy(address=first.addresses)])
    first.close()


def test_a_link_carries_the_whole_configuration_and_tells_its_end() -> None:
    relay = RelayRoute(name="out", relays=(RelayHost("mta1.example", weight=70),))
    config = msgspec.structs.replace(CONFIG, routes={"default": relay})

    async def run() -> None:
        ours, theirs = socket.socketpair()
        master, worker = await master_end(ours), await worker_end(theirs)
        master.send(Begin(config, queue=3, slot=0, board="/b"))
        master.send(Commit(config))
        worker.send(Ready())
        begin = await worker.receive()
        assert begin.config == config
        assert isinstance(await worker.receive(), Commit)
        assert await master.receive() == Ready()
        await master.close()
        assert await worker.receive() is None
        assert await worker.receive() is None
        worker.send(Ready())
        await worker.close()

    asyncio.run(run())


def test_nonsense_on_a_link_is_an_error() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        master = await master_end(ours)
        theirs.sendall(b"\0\0\0\x01\xc1")
        with pytest.raises(LinkError):
            await master.receive()
        theirs.close()
        await master.close()

    asyncio.run(run())


def test_the_board_is_found_below_the_base_wherever_it_lies(tmp_path: Path) -> None:
    for environment in ({}, {"RUNTIME_DIRECTORY": str(tmp_path)}):
        place = place_board(str(tmp_path), 2, environment)
        public = tmp_path / "run" / "board"
        Board(public).close()
        assert public.resolve() == place.resolve()
        assert place.stat().st_mode & 0o777 == 0o600
        remove_board(str(tmp_path), place)
        assert not place.exists()
        assert not public.is_symlink()


def test_a_suspension_is_kept_until_it_is_undone(tmp_path: Path) -> None:
    assert not Suspension(tmp_path).is_on
    Suspension(tmp_path).keep(on=True)
    Suspension(tmp_path).keep(on=True)
    assert Suspension(tmp_path).is_on
    Suspension(tmp_path).keep(on=False)
    Suspension(tmp_path).keep(on=False)
    assert not Suspension(tmp_path).is_on
    assert list(tmp_path.iterdir()) == []
