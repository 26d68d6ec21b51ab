"""Files of reply rules: what they say, how an own one changes what is shipped, and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.config.loader import load_text
from postroom.config.replies import RepliesPolicy
from postroom.config.rule_files import load_rules
from postroom.core.errors import ConfigurationError
from postroom.shaping.replies import Action, ReplyRule

WHOLE = """
[[rule]]
name = "own"
provider = "gmail"
stage = ["greeting", "mail"]
match = '^4\\d\\d .*slow'
slow = "10m"
"""


def rules(tmp_path: Path, text: str, *, shipped: bool = True) -> tuple[ReplyRule, ...]:
    file = tmp_path / "r.toml"
    file.write_text(text)
    return load_rules(RepliesPolicy(str(file), shipped))


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        rules(tmp_path, text)
    return [line.removeprefix(f"{tmp_path}/r.toml") for line in str(caught.value).splitlines()]


def test_own_rules_go_first_and_know_the_providers_that_are_shipped(tmp_path: Path) -> None:
    first, *others = rules(tmp_path, WHOLE)
    assert first.name == "own" and first.action is Action.SLOW and first.for_s == 600
    assert ".google.com" in first.hosts and first.stages == ("greeting", "mail")
    assert first.origin == f"{tmp_path}/r.toml:3"
    assert [one.name for one in others] == [one.name for one in load_rules(RepliesPolicy())]
    assert rules(tmp_path, WHOLE, shipped=False) == (first,)
    assert rules(tmp_path, "", shipped=False) == ()


def test_a_rule_takes_the_place_of_one_of_its_name_or_takes_it_away(tmp_path: Path) -> None:
    text = WHOLE.replace('"own"', '"gmail-rate"')
    text += '[[rule]]\nname = "gmail-closing"\noff = true\n'
    found = rules(tmp_path, text)
    assert [one.action for one in found if one.name == "gmail-rate"] == [Action.SLOW]
    assert not [one for one in found if one.name == "gmail-closing"]


def test_a_provider_is_as_the_own_file_describes_it(tmp_path: Path) -> None:
    text = '[provider.gmail]\nhosts = "mx.example"\ndomains = ".g.example"\n'
    changed = {one.name: one for one in rules(tmp_path, text)}
    assert changed["gmail-rate"].hosts == ("mx.example",)
    assert changed["gmail-rate"].domains == (".g.example",)
    assert changed["yahoo-deferred"].hosts == (".yahoodns.net",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = ]", ":1: not TOML"),
        ("[rules]\na = 1\n", ':1: "rules" is not known; expected [[rule]]'),
        (WHOLE.replace('name = "own"', 'nam = "own"'), ":2: rule 1: expected name"),
        (WHOLE.replace('name = "own"', 'name = "a b"'), ":2: rule 1: expected name"),
        (WHOLE + WHOLE, ":10: rule own: this name is taken"),
        (WHOLE.replace("gmail", "gmial"), ':4: rule own: provider: "gmial" is not described; '),
        (WHOLE.replace('"greeting"', '["greeting"]'), ":5: rule own: stage: "),
        (WHOLE.replace("greeting", "connect"), ':5: rule own: stage: "connect" is none; expected'),
        (WHOLE.replace("slow'", "(slow'"), ":6: rule own: match: "),
        (WHOLE.replace("slow'", "(slow)+'"), "only one character or class can be repeated"),
        (WHOLE.replace('slow = "10m"', 'slow = "10 minutes"'), ":7: rule own: slow: "),
        (WHOLE.replace('slow = "10m"', 'slow = "99d"'), 'expected a duration from "1s" to "7d"'),
        (WHOLE + 'suspend = "1h"\n', "given beside suspend"),
        (WHOLE.replace('slow = "10m"', ""), ":6: rule own: match: nothing is done; expected"),
        (WHOLE + 'outcome = "lost"\n', ':8: rule own: outcome: "lost"; expected deferred or fail'),
        (WHOLE + "speed = 1\n", ':8: rule own: "speed" is not known; expected name'),
        (WHOLE + "off = false\n", ":8: rule own: off: expected true"),
        ('[[rule]]\nname = "gmail-rat"\noff = true\n', 'did you mean "gmail-rate"?'),
        ("[provider.x]\n", ":1: provider x: expected hosts, domains or both"),
        ('[provider.x]\nhosts = ["a b"]\n', ':2: provider x: hosts: "a b"; expected'),
        ("rule = 1\n", ":1: expected tables [[rule]]"),
        ("[[provider]]\nx = 1\n", "expected tables [provider.NAME]"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    found = mistakes(tmp_path, text)
    assert any(says in line for line in found), found


def test_all_mistakes_are_told_with_those_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(WHOLE.replace("gmail", "x").replace("10m", "y"))
    text = 'hostname = "a.example"\n[replies]\nfile = "r.toml"\n[delivery]\nrescan = 0\n'
    with pytest.raises(ConfigurationError) as caught:
        load_text(text, tmp_path / "f.toml", {"HOME": "/h"}, {})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert sum(line.startswith(f"{tmp_path}/r.toml:") for line in lines) == 2


def test_a_file_that_is_missing_is_told_where_it_is_named(tmp_path: Path) -> None:
    text = 'hostname = "a.example"\n[replies]\nfile = "none.toml"\n'
    with pytest.raises(ConfigurationError, match=r"none\.toml: No such file"):
        load_text(text, tmp_path / "f.toml", {"HOME": "/h"}, {})
    loaded = load_text(text, tmp_path / "f.toml", {"HOME": "/h"}, {}, files=False)
    assert loaded.config.reply_rules == ()
