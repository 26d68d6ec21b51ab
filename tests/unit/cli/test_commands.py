"""Commands as processes, on a spool that no server runs on; and the pages made from them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.cli.completion import candidates
from postroom.cli.parser import build_parser
from postroom.cli.server import welcome
from postroom.control.answers import Status
from postroom.core.clock import SystemClock
from postroom.core.ids import QueueId, QueueIdGenerator
from postroom.core.message import Envelope, NewMessage, Recipient, RecipientStatus
from postroom.observe.events import EventList
from postroom.spool.embedded import open_store, prepare_base
from postroom.spool.maildrop import Maildrop
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Settlement
from tools import make_commands

ROOT = Path(__file__).parents[3]
CONTENT = b"Subject: x\r\n\r\nhello\r\n"


class Shell:
    """Runs commands against one base."""

    def __init__(self, base: Path) -> None:
        self.file = base / "postroom.toml"
        self.base = base / "spool"
        self.file.write_text(f'hostname = "test.example"\n[spool]\nbase = "{self.base}"\n')
        self.ids: list[QueueId] = []

    def run(self, *words: str, stdin: bytes = b"", name: str = "") -> tuple[int, str, str]:
        if name:
            code = f"import sys; sys.argv[0] = {name!r}; from postroom.cli.main import main; "
            command = [sys.executable, "-c", f"{code}raise SystemExit(main())", *words]
        else:
            command = [sys.executable, "-m", "postroom", "--config", str(self.file), *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        environment["POSTROOM_CONFIG"] = str(self.file)
        done = subprocess.run(command, input=stdin, capture_output=True, env=environment)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def lines(self, *words: str) -> list[dict[str, object]]:
        code, out, error = self.run(*words, "--json")
        assert code == 0, error
        return [json.loads(line) for line in out.splitlines()]

    def fill(self) -> Shell:
        """Three messages in queue1 (the second deferred), one in queue2."""

        async def put() -> None:
            clock = SystemClock()
            policy = SpoolPolicy(str(self.base))
            import random

            ids = QueueIdGenerator(random.Random(5))
            for queue in prepare_base(policy).queues:
                store = open_store(queue.path, policy, events=EventList(), clock=clock)
                for number in range(3 if queue.number == 1 else 1):
                    queue_id = ids.next(clock.now())
                    self.ids.append(queue_id)
                    envelope = Envelope("a@x.org", (Recipient(f"u{number}@d{number}.example"),))
                    await store.put(NewMessage(queue_id, clock.now() - 7200, envelope, (CONTENT,)))
                status = RecipientStatus(
                    0, attempts=2, due_at=clock.now() + 630, reply="450 4.2.0 later", host="mx"
                )
                if queue.number == 1:
                    await store.settle(Settlement(self.ids[1], (status,)))
                await store.close()

        asyncio.run(put())
        return self


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    yield Shell(tmp_path)


def test_a_listing_shows_every_queue_with_the_server_down(shell: Shell) -> None:
    shell.fill()
    listed = shell.lines("mail", "list")
    assert [message["id"] for message in listed] == shell.ids
    assert [message["state"] for message in listed] == ["waiting", "deferred", "waiting", "waiting"]
    code, out, _ = shell.run("mail", "list", "domain=d1.example", "age>1h")
    assert code == 0 and shell.ids[1] in out and "450 4.2.0 later" in out
    assert out.endswith("1 message\n")
    code, out, _ = shell.run("mail", "list", "domain=nobody.example")
    assert (code, out) == (1, "0 messages\n")
    code, out, _ = shell.run("mail", "list", "--limit", "2")
    assert "2 messages shown; --limit 0 shows all" in out


@pytest.mark.parametrize("command", ["['mailq', '--counts']", "['mail', 'count']", "['status']"])
def test_a_listing_imports_neither_the_settings_nor_the_engine(shell: Shell, command: str) -> None:
    # They take longer to import than a listing takes: python -X importtime shows it.
    shell.base.mkdir()
    code = f"""
import sys
from postroom.cli.main import main
main(["--config", {str(shell.file)!r}, *{command}])
heavy = ("postroom.config.loader", "postroom.engine", "postroom.spool.embedded", "asyncio", "ssl")
print("imported:", [name for name in heavy if name in sys.modules])
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.stdout.decode().endswith("imported: []\n"), done.stderr


def test_mailq_has_the_form_that_other_programs_read(shell: Shell) -> None:
    shell.fill()
    code, out, _ = shell.run("mailq")
    assert code == 0 and out.endswith("Total requests: 4\n")
    assert "queue1 (3 requests)" in out and "queue2 (1 request)" in out
    assert "(mx said: 450 4.2.0 later)" in out
    code, counts, _ = shell.run("-c", name="mailq")
    assert code == 0 and "queue1: 3 requests, 0 held" in counts
    shell.run("mail", "delete", "all")
    assert shell.run("mailq")[1] == "Mail queue is empty\n"


def test_verbs_change_what_matches_and_say_how_many(shell: Shell) -> None:
    shell.fill()
    first = shell.ids[0]
    assert shell.run("mail", "hold", first, "--reason", "odd")[1] == "1 message held\n"
    assert shell.run("mail", "list", "state=held")[1].count(first) == 1
    code, out, _ = shell.run("mail", "release", "all", "--dry-run")
    assert out.startswith("1 message would be released\n")
    assert shell.run("mail", "release", "all")[1] == "1 message released\n"
    code, out, error = shell.run("mail", "run", "state=deferred")
    assert (code, out) == (0, "1 message due now\n") and "the server is down" in error
    code, out, _ = shell.run("mail", "delete", "all", "--dry-run")
    assert out.startswith("4 messages would be deleted\n") and shell.ids[3] in out
    assert shell.run("mail", "delete", "queue=1")[1] == "3 messages deleted\n"
    assert shell.run("mail", "delete", first)[0] == 1
    assert shell.lines("mail", "count")[0]["messages"] == 1


def test_show_prints_what_is_known_and_the_content_octet_for_octet(shell: Shell) -> None:
    shell.fill()
    code, out, _ = shell.run("mail", "show", shell.ids[1])
    assert code == 0
    assert "waiting, 2 attempts, next try in 10m" in out and "mx: 450 4.2.0 later" in out
    assert shell.run("mail", "show", shell.ids[1], "--raw")[1].encode() == CONTENT
    code, _, error = shell.run("mail", "show", "0" * 16)
    assert code == 1 and error.startswith("postroom: no message 0000000000000000; ")


def test_sendmail_leaves_mail_while_the_server_is_down(shell: Shell) -> None:
    message = b"To: b@example.net\nSubject: x\n\nhello\n.\nnot this\n"
    code, out, error = shell.run("-t", "-v", "-f", "a@example.org", stdin=message, name="sendmail")
    assert code == 0, error
    assert out.startswith("queued as ")
    assert Maildrop(shell.base).count() == 1
    (file,) = (shell.base / "maildrop" / "new").iterdir()
    assert file.read_bytes().endswith(b"\r\n\r\nhello\r\n")
    assert shell.run("sendmail", "-bd")[0] == 64


def test_sendmail_speaks_smtp_on_standard_input(shell: Shell) -> None:
    dialogue = (
        b"EHLO me\r\nMAIL FROM:<a@x.org>\r\nRCPT TO:<b@x.net>\r\nDATA\r\n"
        b"Subject: x\r\n\r\n..hello\r\n.\r\nQUIT\r\n"
    )
    code, out, _ = shell.run("sendmail", "-bs", stdin=dialogue)
    assert code == 0
    assert [line[:3] for line in out.splitlines() if line[3] == " "] == [
        "220", "250", "250", "250", "354", "250", "221",
    ]  # fmt: skip
    (file,) = (shell.base / "maildrop" / "new").iterdir()
    assert file.read_bytes().endswith(b"Subject: x\r\n\r\n.hello\r\n")


def test_without_a_server_commands_that_need_it_exit_75(shell: Shell) -> None:
    for words in (("status",), ("reload",), ("inject",)):
        code, _, error = shell.run(*words, stdin=b"From: a@x\nTo: b@x\n\n")
        assert code == 75 and "postroom serve" in error and error.count("\n") == 1


def test_a_queue_whose_directory_is_gone_is_missing(shell: Shell) -> None:
    shell.fill()
    (shell.base / "queue1").rename(shell.base / "elsewhere")
    code, out, _ = shell.run("queue", "list")
    assert code == 1 and "MISSING" in out and "queue2" in out
    code, out, error = shell.run("mail", "list")
    assert code == 1 and shell.ids[3] in out and "queue1 is MISSING" in error


def test_fsck_finds_damaged_content_and_repair_holds_it(shell: Shell) -> None:
    shell.fill()
    assert shell.run("fsck")[:2] == (0, "2 queues checked: nothing is wrong\n")
    (segment,) = (shell.base / "queue2" / "df").glob("*.seg")
    octets = segment.read_bytes()
    segment.write_bytes(octets.replace(b"hello", b"hexlo"))
    code, out, _ = shell.run("fsck")
    assert code == 1 and shell.ids[3] in out and "1 finding" in out
    assert shell.run("fsck", "--repair")[0] == 0
    assert [message["id"] for message in shell.lines("mail", "list", "state=quarantined")] == [
        shell.ids[3]
    ]


def test_delete_on_a_terminal_asks_for_yes(shell: Shell) -> None:
    shell.fill()
    command = [sys.executable, "-m", "postroom", "--config", str(shell.file), "mail", "delete"]
    master, terminal = os.openpty()
    for words, code in ((["all"], 2), (["all", "--dry-run"], 0), (["all", "--yes"], 0)):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [*command, *words], stdin=terminal, capture_output=True, env=environment
        )
        assert done.returncode == code, done.stderr
    os.close(master)
    os.close(terminal)
    assert shell.lines("mail", "count")[0]["messages"] == 0


def test_a_wrong_configuration_exits_78_with_file_and_line(shell: Shell) -> None:
    shell.file.write_text("[spool]\ncuont = 2\n")
    for words in (("check",), ("serve",), ("mailq",)):
        code, _, error = shell.run(*words)
        assert code == 78 and f"{shell.file}:2" in error
    assert shell.run("--set", "nonsense", "check")[0] == 2


def test_check_and_retry_table_print_what_is_in_force(shell: Shell) -> None:
    code, out, _ = shell.run("--set", "spool.count=3", "check")
    assert code == 0 and "count = 3" in out and "command line" in out
    code, out, _ = shell.run("retry-table")
    assert code == 0 and "ATTEMPT" in out and "default:" in out
    assert shell.run("retry-table", "nosuch")[0] == 2


def test_route_names_the_rule_with_file_and_line(shell: Shell) -> None:
    with shell.file.open("a") as file:
        file.write('[route.out]\ntype = "relay"\nrelays = [{ host = "127.0.0.1:2526" }]\n')
        file.write('[channel.near]\nmatch = ["near.example"]\nroute = "out"\n')
    code, out, _ = shell.run("route", "b@near.example")
    assert code == 0 and "near" in out and f"{shell.file}:" in out and "127.0.0.1:2526" in out


def test_a_password_becomes_a_line_of_the_users_file(shell: Shell) -> None:
    code, out, _ = shell.run("user-hash", "anna", stdin=b"secret\n")
    assert code == 0 and out.startswith("anna:") and "secret" not in out
    assert shell.run("user-hash", "anna")[0] == 2


def test_wrong_usage_exits_2(shell: Shell) -> None:
    for words in ((), ("nosuch",), ("mail", "hold"), ("mail", "list", "state=odd")):
        assert shell.run(*words)[0] == 2


def test_simple_commands_import_little() -> None:
    program = (
        "import sys; from postroom.cli.main import main; main(['version']);"
        "print(sorted({'asyncio', 'apsw', 'ssl', 'email', 'dns', 'rich', 'aiohttp'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.stdout.splitlines()[1] == "[]"


def test_the_page_of_commands_is_current() -> None:
    hint = "run: python tools/make_commands.py --write"
    assert make_commands.PAGE.read_text("utf-8") == make_commands.page(), hint


def test_completion_offers_what_the_parser_knows() -> None:
    asked: list[str] = []

    def names(kind: str) -> list[str]:
        asked.append(kind)
        return {"queue": ["queue1", "queue2"], "channel": ["gmail"]}.get(kind, [])

    def words(*line: str) -> list[str]:
        return [one.word for one in candidates(line, names)]

    assert words("qu") == ["queue"]
    assert words("--config", "x", "mail", "hold", "--d") == ["--dry-run"]
    assert {"list", "release"} <= set(words("mail", ""))
    assert "--json" not in words("mail", "list", "--json", "--")
    assert words("import", "--from", "q") == ["qmail"]
    assert words("inject", "-f", "a@example.org", "m") == [":files"]
    assert words("queue", "layout", "queue1", "--qf", "") == [":directories"]
    assert words("sink", "--rec") == ["--record"] and not asked
    assert words("mail", "list", "queue=queue2") == ["queue=queue2"]
    assert words("mail", "move", "all", "--queue", "") == ["queue1", "queue2"]
    assert words("channel", "set", "") == ["gmail"]
    assert "rate=" not in words("channel", "set", "gmail", "")
    assert "concurrency=" in words("channel", "set", "gmail", "")
    assert "rate=none" in words("what-if", "channel", "gmail", "concurrency=1", "")
    assert asked == ["queue", "queue", "channel"], "nobody is asked who is not needed"


def test_every_command_can_be_completed_without_a_mistake() -> None:
    for path, _ in make_commands.commands(build_parser(), ()):
        for last in ("", "-", "x"):
            candidates([*path, last], lambda kind: [])


def test_the_welcome_says_what_to_type_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / ".venv" / "bin" / "postroom"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    state = Status("0", 1, 0.0, "h", "/b", "", 1, "running", False, ("127.0.0.1:2525",))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "  .venv/bin/postroom --config x status" in welcome(state, "x")
    monkeypatch.setenv("PATH", str(script.parent))
    assert "  postroom status" in welcome(state, None)
