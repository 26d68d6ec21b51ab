"""`postroom reply-test` shows the rule for a reply, where it stands and what it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from postroom.cli.main import main
from postroom.core.reply import EnhancedStatusCode, Reply

GMAIL = ("--site", "gmail-smtp-in.l.google.com")
RULES = """
[provider.partner]
hosts = ".partner.example"
domains = ["partner.example"]

[[rule]]
name = "partner-full"
provider = "partner"
stage = "rcpt"
match = '^5\\d\\d .*mailbox store is full'
back_off = "2h"
outcome = "deferred"
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "replies.toml").write_text(RULES)
    file = tmp_path / "postroom.toml"
    file.write_text('hostname = "a.example"\n[replies]\nfile = "replies.toml"\n')
    return str(file)


def test_a_shipped_rule_is_shown_with_its_place(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("421 4.7.28", "unusual rate of unsolicited mail")
    assert main(["--config", config, "reply-test", *GMAIL, *words]) == 0
    out = capsys.readouterr().out
    assert "rule:     gmail-rate" in out
    assert "replies.toml:" in out
    assert "nothing is tried at the site for 30m" in out


def test_json_and_exit_codes(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    full = "550 5.2.0 our mailbox store is full"
    site = ("--site", "mx.partner.example")
    assert main(["--config", config, "reply-test", *site, "--json", full]) == 0
    [line] = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["rule"] == "partner-full" and told["action"] == "back-off"
    assert told["for_s"] == 7200 and told["outcome"] == "deferred"
    assert told["origin"].endswith("replies.toml:7")

    at_mail = ["--config", config, "reply-test", *site, "--stage", "mail", full]
    assert main(at_mail) == 1
    assert "no rule" in capsys.readouterr().out
    by_domain = ["--config", config, "reply-test", "--domain", "partner.example", "--json", full]
    assert main(by_domain) == 0
    capsys.readouterr()
    assert main(["--config", config, "reply-test", "--json", "450 4.2.0 later"]) == 1
    assert json.loads(capsys.readouterr().out) == {"rule": None}
    assert main(["--config", config, "reply-test", "hello"]) == 2
    assert "is no reply" in capsys.readouterr().err


def test_a_wrong_rule_is_told_with_file_line_and_remedy(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(config).with_name("replies.toml")
    file.write_text(RULES.replace("^5", "(^5"))
    for command in (["reply-test", "421 x"], ["check"]):
        assert main(["--config", config, *command]) == 78
        error = capsys.readouterr().err
        assert f"{file}:10: rule partner-full: match: " in error, error
        assert "no regular expression" in error


@pytest.mark.parametrize(
    ("said", "joined"),
    [
        ("421-4.7.28 one\n421 4.7.28 two", Reply(421, EnhancedStatusCode("4.7.28"), "one\ntwo")),
        ("554-gmx.net no\\n554 listed", Reply(554, EnhancedStatusCode(""), "gmx.net no\nlisted")),
        ("421 4.7.0 a / b", Reply(421, EnhancedStatusCode("4.7.0"), "a / b")),
        ("250", None),
    ],
)
def test_a_reply_may_be_given_as_it_was_on_the_wire(said: str, joined: Reply | None) -> None:
    from postroom.cli.output import CommandFailed
    from postroom.cli.reply_test import _parsed

    if joined is None:
        with pytest.raises(CommandFailed):
            _parsed(said)
    else:
        assert _parsed(said) == joined
