"""The first rule of the file that matches decides, of whatever kind it is."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import ROOT
from tests.support.dns_server import DnsServer

CONFIG = """\
hostname = "mail.test.example"
[spool]
base = "{base}"
[resolver]
servers = ["{server}"]
[channel.exact]
match = ["b.example.org", "plain.example"]
[channel.suffix]
match = [".example.org", "deep.example.org"]
[channel.pattern]
match = ["*.mail.*", "shop?.example"]
[channel.hosted]
match = ["mx:*.google.example"]
[channel.late]
match = ["x.mail.example", "late.example"]
"""

# Ten fixtures: a recipient, and the channel and rule that have it.
TABLE = {
    "u@b.example.org": ("exact", "b.example.org"),          # exact before the suffix
    "u@a.b.example.org": ("suffix", ".example.org"),        # exact is exact
    "u@Example.ORG": ("suffix", ".example.org"),            # a suffix is the domain too
    "u@plain.example": ("exact", "plain.example"),          # exact before its MX host
    "u@sub.plain.example": ("hosted", "mx:*.google.example"),
    "u@x.mail.example": ("pattern", "*.mail.*"),            # a pattern before a later exact rule
    "u@shop1.example": ("pattern", "shop?.example"),
    "u@shop12.example": ("default", ""),
    "u@customer.example": ("hosted", "mx:*.google.example"),
    "u@late.example": ("hosted", "mx:*.google.example"),    # an MX host before a later exact rule
}  # fmt: skip

OURS, GOOGLE = {"MX": ["10 mx.test.example"]}, {"MX": ["5 other.example", "10 a.google.example"]}
ZONES = {
    **{address.rpartition("@")[2].lower(): OURS for address in TABLE},
    **dict.fromkeys(
        ("plain.example", "sub.plain.example", "customer.example", "late.example"), GOOGLE
    ),
}


def run(file: Path, *words: str) -> tuple[int, str, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "postroom", "--config", str(file), *words]
    done = subprocess.run(command, capture_output=True, env=environment, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.seed(20)
def test_ten_recipients_go_by_the_first_rule_that_matches(tmp_path: Path) -> None:
    # ten fixtures equal a table; `postroom check` prints shadowed rules.
    file = tmp_path / "postroom.toml"

    async def play() -> tuple[int, str, str]:
        async with DnsServer(ZONES) as server:
            file.write_text(CONFIG.format(base=tmp_path / "spool", server=server.address))
            return await asyncio.to_thread(run, file, "route", *TABLE, "--json")

    code, out, errors = asyncio.run(play())
    assert code == 0, errors
    found = {}
    for line in out.splitlines():
        one = json.loads(line)
        rule = one["rule"].partition('rule "')[2].rstrip('"')
        found[one["address"]] = (one["channel"], rule)
    assert found == TABLE

    code, _, errors = run(file, "check")
    assert code == 0
    shadowed = [line for line in errors.splitlines() if "can never match" in line]
    assert len(shadowed) == 2
    assert 'rule "deep.example.org" can never match' in shadowed[0]
    assert f'{file}:9): rule ".example.org" comes first' in shadowed[0]
    assert 'rule "x.mail.example" can never match' in shadowed[1]
    assert 'rule "*.mail.*" comes first' in shadowed[1]
