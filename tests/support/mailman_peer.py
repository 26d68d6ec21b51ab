"""A real Mailman 3, in an interpreter of its own: it fills a queue, and delivers from one.

    mailman = Mailman(base, port)   # Missing, where none is installed
    mailman.run("fill", stdin=...)

Mailman is run by its own classes, without its daemons: each step does one round of a runner.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PLACE = Path(__file__).resolve().parents[2] / ".peers" / "mailman"
DEADLINE_S = 120.0
CONFIGURATION = """
[mailman]
layout: here
site_owner: site@old.example
[paths.here]
var_dir: {var}
[mta]
incoming: mailman.mta.null.NullMTA
smtp_host: 127.0.0.1
smtp_port: {port}
"""
SCRIPT = """
import email
import sys

from mailman.app.lifecycle import create_list
from mailman.config import config
from mailman.core.initialize import initialize
from mailman.core.pipelines import process
from mailman.database.transaction import transaction
from mailman.email.message import Message, UserNotification
from mailman.interfaces.domain import IDomainManager
from mailman.interfaces.mailinglist import Personalization
from mailman.interfaces.member import MemberRole
from mailman.interfaces.usermanager import IUserManager
from mailman.runners.outgoing import OutgoingRunner
from mailman.runners.retry import RetryRunner
from mailman.runners.virgin import VirginRunner
from mailman.utilities.datetime import now
from zope.component import getUtility


def run(runner, name):
    with transaction():
        runner(name)._one_iteration()


def post(to, content, pipeline="default-posting-pipeline"):
    message = email.message_from_bytes(content, Message)
    known = {"listid": to.list_id, "received_time": now()}
    with transaction():
        process(to, message, known, pipeline)


def fill(content, other):
    with transaction():
        users = getUtility(IUserManager)
        getUtility(IDomainManager).add("lists.old.example")
        plain = create_list("my.list@lists.old.example")
        full = create_list("full@lists.old.example")
        full.personalize = Personalization.full
        for name in ("done", "later.one", "later+two"):
            user = users.make_user(name + "@b.example", name)
            [address] = user.addresses
            address.verified_on = now()
            user.preferred_address = address
            plain.subscribe(address)
            full.subscribe(address)
        owner = users.create_address("later.owner@c.example")
        owner.verified_on = now()
        plain.subscribe(owner, MemberRole.owner)
    # The first posting was tried, and some members were deferred; the others wait.
    post(plain, content)
    run(OutgoingRunner, "out")
    post(plain, other.replace(b"NAME", b"footer"))
    post(full, other.replace(b"NAME", b"personal"))
    post(plain, other.replace(b"NAME", b"owners"), "default-owner-pipeline")
    with transaction():
        UserNotification(
            "later.one@b.example", "my.list-owner@lists.old.example", "notice \\xe9",
            "Gr\\xfc\\xdfe,\\n.a dot\\nFrom here\\n" + "x" * 900, plain.preferred_language,
        ).send(plain)
    run(VirginRunner, "virgin")
    config.switchboards["in"].enqueue(
        email.message_from_bytes(other, Message), listid=plain.list_id)


initialize(sys.argv[1])
if sys.argv[2] == "fill":
    content, _, other = sys.stdin.buffer.read().partition(b"\\0")
    fill(content, other)
else:
    run(RetryRunner, "retry")
    run(OutgoingRunner, "out")
"""


class Missing(Exception):
    """No Mailman is here; the text says how to get one."""


class Mailman:
    """One Mailman with its var directory, which sends to a port of this machine."""

    def __init__(self, var: Path, port: int) -> None:
        self.programs = _programs()
        self.var = var
        self.file = var.with_name(f"{var.name}.cfg")
        self.file.write_text(CONFIGURATION.format(var=var, port=port))

    def run(self, step: str, stdin: bytes = b"") -> None:
        """Do a step of the script: fill, or deliver."""
        subprocess.run(
            [str(self.programs / "python"), "-c", SCRIPT, str(self.file), step], input=stdin,
            cwd=self.var.parent, check=True, timeout=DEADLINE_S,
        )  # fmt: skip

    def start_runner(self, name: str) -> subprocess.Popen[bytes]:
        """Start one of Mailman's daemons; the caller ends it."""
        command = [
            str(self.programs / "python"), str(self.programs / "runner"),
            "-C", str(self.file), f"--runner={name}:0:1",
        ]  # fmt: skip
        return subprocess.Popen(
            command, cwd=self.var, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def _programs() -> Path:
    """Return the directory of Mailman's programs and of their interpreter."""
    places = [PLACE / "bin"]
    found = shutil.which("mailman")
    if found is not None:
        places.append(Path(found).resolve().parent)
    for place in places:
        if (place / "python").exists() and (place / "runner").exists():
            return place
    raise Missing("no Mailman 3 here: 'make peers' installs it, or put its programs on PATH")
