"""Rules by sender, tenant and tag: the first one that matches decides, also after a reload."""

from __future__ import annotations

import smtplib

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

LISTENERS = """
[listen.smtp]
address = ["127.0.0.1:0"]
[listen.club]
address = ["127.0.0.1:0"]
"""
CLUB = '[tenant.club]\nlisteners = ["club"]\n'
SHOP = '[tenant.shop]\nsenders = [".shop.test"]\n'
CHANNELS = """
[channel.exact]
match = ["first.test"]
[channel.news]
match = ["tag:news-*", "from:news@shop.test"]
[channel.shop]
match = ["tenant:shop", "from:@old.shop.test"]
[channel.bounces]
match = ["from:<>"]
[channel.club]
match = ["tenant:club", "tenant:club", "from:news@shop.test"]
concurrency = 0
"""
CONFIG = LISTENERS + CLUB + SHOP + CHANNELS
# Reverse-path, listener, tag, domain, channel.
TABLE = (
    ("a@shop.test", "smtp", "", "one.test", "shop"),
    ("a@shop.test", "club", "", "one.test", "club"),            # the first tenant of the file
    ("a@b.shop.test", "smtp", "", "first.test", "exact"),       # a rule about the domain before
    ("news@shop.test", "smtp", "", "one.test", "news"),
    ("news@SHOP.test", "smtp", "", "two.test", "news"),
    ("a@shop.test", "smtp", "News-7", "one.test", "news"),
    ("a@shop.test", "smtp", "other", "one.test", "shop"),
    ("", "smtp", "", "one.test", "bounces"),
    ("me@else.test", "club", "", "two.test", "club"),
    ("me@else.test", "smtp", "", "two.test", "default"),
)  # fmt: skip
EXPLAINED = (1, 5, 7)
"""Rows that `postroom route` is asked about as well."""


@pytest.mark.seed(20)
def test_ten_messages_go_by_the_first_rule_about_sender_tenant_or_tag() -> None:
    # ten fixtures equal a table; `postroom check` prints shadowed rules.
    with (
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon,
    ):
        ports = dict(zip(("smtp", "club"), daemon.ports.values(), strict=True))
        for number, (path, listener, tag, domain, channel) in enumerate(TABLE):
            field = f"X-Postroom-Tag: {tag}\r\n" if tag else ""
            with smtplib.SMTP("127.0.0.1", ports[listener], timeout=20) as client:
                client.sendmail(path, [f"u{number}@{domain}"], f"{field}Subject: t\r\n\r\nx\r\n")
            if number in EXPLAINED:
                words = ["--sender", path or "<>", "--listener", listener, "--tag", tag]
                [row] = in_json(daemon, "route", f"u{number}@{domain}", *words)
                assert row["channel"] == channel, row
        expected = {
            f"u{number}@{domain}": channel
            for number, (_, _, _, domain, channel) in enumerate(TABLE)
        }
        others = {who: channel for who, channel in expected.items() if channel != "club"}
        daemon.wait_for_event("delivered", len(others))
        assert delivered(daemon) == others

        # What is held says by which channel, and is counted there, not with others of its domain.
        waiting = in_json(daemon, "mail", "list")
        assert len(waiting) == len(expected) - len(others)
        code, out = postroom(daemon, "why", waiting[0]["id"])
        assert code == 0 and "channel club is held" in out
        counts = {row["channel"]: row for row in in_json(daemon, "channel", "list")}
        assert (counts["club"]["waiting"], counts["shop"]["waiting"]) == (2, 0)

        # Other rules: the mail that waits goes by them when it is told to.
        daemon.write_config(LISTENERS + SHOP + CLUB + CHANNELS.replace('"tenant:club", ', ""))
        assert postroom(daemon, "reload", "--reroute")[0] == 0
        daemon.wait_for_event("delivered", len(expected))
        assert {delivered(daemon)[who] for who in expected.keys() - others.keys()} == {
            "shop", "default",
        }  # fmt: skip


def test_shadowed_rules_are_named_and_tenants_must_exist() -> None:
    daemon = Daemon(config=CONFIG)
    try:
        code, out = postroom(daemon, "check")
        assert code == 0
        shadowed = [line for line in out.splitlines() if "can never match" in line]
        assert len(shadowed) == 2
        assert 'rule "tenant:club" can never match' in shadowed[0]
        assert 'rule "from:news@shop.test" can never match' in shadowed[1]
        assert (
            "channel news" in shadowed[1]
            and 'rule "from:news@shop.test" comes first' in shadowed[1]
        )

        daemon.write_config(LISTENERS + SHOP + '[channel.x]\nmatch = ["a.test", "tenant:shoq"]\n')
        code, out = postroom(daemon, "check")
        assert code == 78
        line = daemon.file.read_text().splitlines().index('match = ["a.test", "tenant:shoq"]') + 1
        assert f'{daemon.file}:{line}: channel.x.match: there is no tenant "shoq"' in out
        assert 'did you mean "shop"?' in out
        daemon.write_config(LISTENERS + CLUB + SHOP)
        code, out = postroom(daemon, "route", "a@b.test", "--tenant", "nobody")
        assert (code, "there are: club, shop" in out) == (2, True)
    finally:
        daemon.__exit__(None, None, None)


def delivered(daemon: Daemon) -> dict[str, str]:
    return {event["recipient"]: event["channel"] for event in daemon.events("delivered")}
