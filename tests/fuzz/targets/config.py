"""The configuration file, reply rules and values of the environment: any octets.

Input: which of the three, then the text.

1. It is a configuration, or ConfigurationError whose every line names the file, and a line of it
   where one is to blame; never another exception.
2. Each setting of a good file is of a line of it.
3. Reply rules that are whole can be asked about any reply.
"""

from __future__ import annotations

import re
from pathlib import Path

from postroom.config.loader import load_text
from postroom.config.rule_files import rules_of
from postroom.core.errors import ConfigurationError
from postroom.core.reply import Reply
from postroom.shaping.replies import ReplyRules
from postroom.smtp.client_states import Stage
from tests.fuzz.draw import Draw
from tests.fuzz.target import Target, spelt

_FILE = "/nowhere/f.toml"
_LINE = re.compile(rf"{_FILE}(?::[1-9][0-9]*)?: |environment |command line")
_ENVIRON = {"HOME": "/h"}


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    which = draw.number(2)
    text = draw.rest().decode("utf-8", "replace")
    (_file, _rules, _environment)[which](text)


def _file(text: str) -> None:
    try:
        loaded = load_text(text, Path(_FILE), _ENVIRON, {})
    except ConfigurationError as error:
        _check_told(str(error), text)
        return
    assert set(loaded.sources.values()) <= {"default"} | {
        f"{_FILE}:{line}" for line in range(1, text.count("\n") + 2)
    }


def _rules(text: str) -> None:
    try:
        rules = rules_of(Path(_FILE), text, shipped=False)
    except ConfigurationError as error:
        _check_told(str(error), text)
        return
    ready = ReplyRules(rules)
    for stage in Stage:
        ready.find(
            stage, Reply(421, "4.7.28", "a" * 600 + text[:100]), "mx.google.com", "a.example"
        )


def _environment(text: str) -> None:
    name, _, value = text.partition("=")
    variables = {f"POSTROOM_{name.upper()}": value}
    overrides = {name: value}
    for environ, given in ((variables, {}), ({}, overrides)):
        try:
            load_text(None, None, _ENVIRON | environ, given)
        except ConfigurationError as error:
            assert str(error).strip()


def _check_told(told: str, text: str) -> None:
    assert told.strip()
    for line in told.splitlines():
        assert _LINE.match(line), f"no file is named: {line!r}"
        found = re.match(rf"{_FILE}:(\d+)", line)
        assert found is None or int(found[1]) <= text.count("\n") + 1


_GOOD = b"""hostname = "mx.example"
[spool]
base = "/s"
count = 2
[listen.smtp]
address = ["127.0.0.1:2525"]
size_limit = "50 MiB"
[route.out]
type = "relay"
relays = [ { host = "mta1.example:25", weight = 70 }, { host = "[::1]:25", tier = 2 } ]
[channel.gmail]
match = ["gmail.com", "mx:*.google.com"]
route = "out"
rate = "1000/1m"
retry = "exponential 5m x2 max 4h for 5d"
"""
_GOOD_RULES = b"""[provider.one]
hosts = [".one.example"]
[[rule]]
name = "slow"
provider = "one"
stage = "mail"
match = '^421 4\\.7'
suspend = "30m"
[[rule]]
name = "no"
match = "x"
outcome = "failed"
"""
TARGET = Target(
    "config",
    try_one,
    [
        "postroom.config",
        "postroom.channels",
        "postroom.core.expressions",
        "postroom.shaping.replies",
    ],
    seeds=[
        b"\x00" + _GOOD,
        b"\x01" + _GOOD_RULES,
        b"\x02listen_smtp_address=127.0.0.1:99",
        b"\x02spool.base=/x",
        b"\x00[source.a]\naddress = '192.0.2.1'\n[tenant.x]\nsenders = ['a@b']\n[class.bulk]\n",
    ],
    words=spelt(
        r"[channel.x]\n | [route.x]\n | [group.x]\n | [source.x]\n | [webhook.x]\n | [tenant.x]\n"
        r" | [[rule]]\n | [provider.x]\n | match = | = 1e999\n | = -1\n | = nan\n | = []\n"
        r" | = {}\n | = [[]]\n | = true\n | = 1979-05-27T07:32:00Z\n | = 99999999999999999999\n"
        r' | "\\uFFFF" | \xc3\x9f.example | list 1m,5m | Mon-Fri 08:00-17:00 Europe/Berlin | mx:'
        r" | header: | 10/1s"
    ),
    octets_max=2048,
)
