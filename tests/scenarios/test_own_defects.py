"""A defect of ours costs the mail that meets it an attempt, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command_line import listed
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

# Python imports this module before any program, in the worker processes too.
DEFECT = """
from postroom.delivery.maildir import MaildirAgent

async def deliver(self, attempt):
    raise ZeroDivisionError("a defect of ours")

MaildirAgent.deliver = deliver
"""
RETRY = 'retry = "list 1s for 1h jitter 0%"\n'


class DefectiveServer(Daemon):
    """A server whose maildir route has a defect, until it is mended."""

    mended = False

    @property
    def environment(self) -> dict[str, str]:
        environment = super().environment
        if not self.mended:
            directory = self.base / "defect"
            directory.mkdir(exist_ok=True)
            (directory / "sitecustomize.py").write_text(DEFECT)
            environment["PYTHONPATH"] += f"{os.pathsep}{directory}"
        return environment


@pytest.mark.seed(36)
def test_mail_that_meets_a_defect_is_deferred_kept_and_delivered_once_it_is_mended(
    tmp_path: Path,
) -> None:
    # Deferred, attempt counted, mail kept.
    config = f"""
[route.box]
type = "maildir"
path = "{tmp_path}/{{local}}"
[channel.box]
match = ["box.example"]
route = "box"
{RETRY}[channel.default]
{RETRY}"""
    with (
        SinkThread() as sink,
        DefectiveServer(relay=sink.port, queues=1, config=config) as daemon,
    ):
        daemon.send("a@example.org", ["r@box.example", "r@example.com"])
        sink.wait_for(1)
        daemon.wait_for_event("deferred", 2)
        deferred = daemon.events("deferred")[:2]
        assert [(event["recipient"], event["attempts"]) for event in deferred] == [
            ("r@box.example", 1), ("r@box.example", 2),
        ]  # fmt: skip
        assert all(event["reply"].startswith("451 4.3.0 internal error") for event in deferred)
        defect = daemon.wait_for_event("defect", 2)
        assert defect["id"] == deferred[0]["id"]
        assert defect["error"] == "ZeroDivisionError: a defect of ours"
        # The same process goes on with other mail.
        assert daemon.events("worker-exited") == []
        daemon.send("a@example.org", ["other@example.com"])
        sink.wait_for(2)
        [kept] = listed(daemon)
        assert kept["recipients"][0]["attempts"] >= 2

        assert daemon.stop() == 0
        daemon.mended = True
        daemon.start()
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="it is delivered")
        assert len(list((tmp_path / "r" / "new").iterdir())) == 1
        assert sink.recipients == ["r@example.com", "other@example.com"]
        assert not daemon.events("failed") and not daemon.events("report")
