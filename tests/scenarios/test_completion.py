"""Tab in real shells: commands, options, words of a filter, and names from the running server."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, Daemon
from tests.support.shell_terminal import Terminal
from tests.support.sink import SinkThread

SHELLS = {
    "bash": (["bash", "--noprofile", "--norc", "-i"], 'eval "$(postroom completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'eval "$(postroom completion zsh)"'),
}
CONFIG = """
[channel.gmail]
match = ["gmail.example"]
[channel.news]
match = ["news.example"]
[tenant.shop]
senders = ["shop.example"]
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `postroom` is this source tree."""
    script = tmp_path / "bin" / "postroom"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m postroom "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {
        "PATH": f"{script.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(tmp_path), "LANG": "C.UTF-8",
    }  # fmt: skip


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with SinkThread() as sink, Daemon(relay=sink.port, config=CONFIG) as running:
        running.send("a@example.org", ["b@gmail.example"])
        running.wait_for_event("done")
        yield running


def _needs(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_commands_options_filters_and_names(
    shell: str, environment: dict[str, str], daemon: Daemon
) -> None:
    _needs(shell)
    command, setup = SHELLS[shell]
    config = f"--config {daemon.file}"
    with Terminal(command, environment) as terminal:
        terminal.run("true")
        terminal.run(setup)
        assert terminal.completed("postroom mail rel") == "postroom mail release"
        assert terminal.completed("postroom mail hold --dr") == "postroom mail hold --dry-run"
        line = "postroom mail list state=def"
        assert terminal.completed(line) == "postroom mail list state=deferred"
        assert terminal.completed("postroom mail list dom") == "postroom mail list domain="
        line = f"postroom {config} channel suspend gm"
        assert terminal.completed(line) == f"postroom {config} channel suspend gmail"
        line = f"postroom {config} queue hold queue1 "
        assert terminal.completed(line) == f"postroom {config} queue hold queue1 queue"
        line = f"postroom {config} mail list queue=queue2"
        assert terminal.completed(line) == line
        line = f"postroom {config} site list re"
        assert terminal.completed(line) == f"postroom {config} site list relay:default"
        line = f"postroom {config} route --tenant s"
        assert terminal.completed(line) == f"postroom {config} route --tenant shop"
        # Files where a file is expected.
        (daemon.base / "message.eml").touch()
        line = f"postroom inject {daemon.base}/mess"
        assert terminal.completed(line) == f"postroom inject {daemon.base}/message.eml"
        # The shell quotes the space, and `echo` shows it as it is.
        (daemon.base / "a letter.eml").touch()
        line = f"postroom inject {daemon.base}/a"
        assert terminal.completed(line) == f"postroom inject {daemon.base}/a letter.eml"


def test_tab_completes_in_fish(environment: dict[str, str], daemon: Daemon) -> None:
    fish = _needs("fish")

    def completions(line: str) -> list[str]:
        program = f"postroom completion fish | source; complete -C '{line}'"
        done = subprocess.run(
            [fish, "--no-config", "-c", program], env=environment, capture_output=True, text=True
        )
        assert not done.stderr
        return [one.partition("\t")[0] for one in done.stdout.splitlines()]

    assert completions("postroom mail rel") == ["release"]
    assert "--dry-run" in completions("postroom mail hold --")
    assert "state=deferred" in completions("postroom mail list state=")
    config = f"--config {daemon.file}"
    assert completions(f"postroom {config} channel suspend ") == ["default", "gmail", "news"]
    (daemon.base / "message.eml").touch()
    assert completions(f"postroom inject {daemon.base}/mess") == [f"{daemon.base}/message.eml"]


def _words(environment: dict[str, str], *words: str) -> list[str]:
    done = subprocess.run(
        ["postroom", "completion", "words", *words],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


def test_names_are_left_out_in_silence_while_the_server_is_down(
    environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "postroom.toml"
    file.write_text(f'[spool]\nbase = "{tmp_path / "spool"}"\n')
    assert _words(environment, "--config", str(file), "channel", "suspend", "") == []
    assert _words(environment, "--config", "/nonexistent", "channel", "suspend", "") == []
    file.write_text("this is no TOML")
    assert _words(environment, "--config", str(file), "route", "--tenant", "") == []


def test_a_server_that_does_not_answer_is_not_waited_for(environment: dict[str, str]) -> None:
    with Daemon(queues=1) as daemon:
        daemon.kill_all()
        control = daemon.base / "spool" / "run" / "control.sock"
        control.unlink()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(control))
            silent.listen()
            began = time.monotonic()
            assert _words(environment, "--config", str(daemon.file), "source", "pause", "") == []
            assert time.monotonic() - began < 15.0, "0.7 s, and what a busy machine adds"
