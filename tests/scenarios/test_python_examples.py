"""What the pages for programmers show works: every block of Python, against a running server."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.daemon import ROOT, Daemon
from tests.support.sink import SinkThread
from tools import make_python

BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def _run(page: str, daemon: Daemon, replaced: tuple[str, str] = ("", "")) -> str:
    text = (ROOT / "docs" / "how-to" / page).read_text("utf-8")
    blocks = [block for block in BLOCK.findall(text) if "EMAIL_BACKEND" not in block]
    assert blocks
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks).replace(*replaced)],
        capture_output=True, text=True, timeout=60,
        env={**daemon.environment, "POSTROOM_CONFIG": str(daemon.file)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_shown_of_the_client_sends_mail() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port) as daemon:
        said = _run("python.md", daemon)
        assert "not an address" in said, "the mistake is told"
        # One, three for a list, ten at once, and of the last four the two that need not wait;
        # mail with a deadline that is to be returned goes to no host that promises nothing.
        messages = sink.wait_for(15)

        def accepted() -> int:
            return sum(event["protocol"] == "local" for event in daemon.events("accepted"))

        daemon.wait_until(lambda: accepted() >= 18, what="18 messages of the page")
        assert accepted() == 18
        recipients = {recipient for one in messages for recipient in one.recipients}
        assert {"customer@example.com", "reader0@example.com", "reader9@example.com"} <= recipients


def test_what_is_shown_of_smtplib_sends_mail() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port) as daemon:
        _run("django-flask.md", daemon, ("2525", str(daemon.port)))
        [message] = sink.wait_for(1)
        assert message.recipients == ("customer@example.com",)


def test_the_page_of_the_python_interface_is_current() -> None:
    if sys.version_info[:2] != (3, 11):
        pytest.skip("signatures are written by Python 3.11; others word them otherwise")
    hint = "run: python tools/make_python.py --write"
    assert make_python.PAGE.read_text("utf-8") == make_python.page(), hint
