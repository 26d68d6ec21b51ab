"""Every word of the filter language, on a running server and on queues without one."""

from __future__ import annotations

import contextlib
import io
import json
import smtplib

import pytest

from postroom.cli.main import main
from postroom.control.filters import split_words
from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONFIG = """
[channel.bulk]
match = ["bulk.example", "from:news@lists.example"]
retry = "list 1h for 2d"
[channel.default]
retry = "list 2h for 2d"
[tenant.acme]
senders = ["acme.example"]
[class.first]
priority = 1
senders = ["acme.example"]
"""
CONTENT = "Subject: Spring\r\n sale\r\nX-Campaign: {}\r\n\r\nX-Campaign: body\r\n"
MAIL = {
    # recipient: (sender, campaign)
    "a@bulk.example": ("bounce-1@news.example", "spring-1"),
    "b@sub.bulk.example": ("bounce-2@news.example", "spring-2"),
    "c@other.example": ("news@lists.example", "autumn"),
    "d@acme.test": ("boss@acme.example", ""),
    "e@null.example": ("", "spring-1"),
}
FOUND = {
    "all": "abcde",
    "domain=bulk.example": "a",
    "domain=.bulk.example": "ab",
    "domain=*.example domain!=bulk.example": "bce",
    "recipient=A@bulk.example,d@acme.test": "ad",
    "recipient=*@*.example recipient!=e*": "abc",
    "sender=*@news.example": "ab",
    "sender=<>": "e",
    "sender!=<> sender!=*@news.example": "cd",
    "state=deferred": "abcd",
    "state=quarantined": "e",
    "state!=held state!=deferred": "e",
    "state=waiting": "",
    "age<1h": "abcde",
    "age>1h": "",
    "due<90m": "ac",
    "due>90m": "bd",
    "due<0s": "",
    "attempts>0": "abcd",
    "attempts=0": "e",
    "size>10KiB": "",
    "size<10KiB": "abcde",
    "channel=bulk": "ac",
    "channel!=bulk": "bde",
    "channel=b* domain=other.example": "c",
    "channel=nosuch": "",
    "site=relay:*": "abcde",
    "site!=relay:*": "",
    "tenant=acme": "d",
    'tenant=""': "abce",
    "class=first": "d",
    "class!=first": "abce",
    'reply~"45[0-9] 4\\.2"': "abcd",
    "reply!~later": "e",
    "header:X-Campaign": "abcde",
    "header:x-campaign=SPRING*": "abe",
    "header:X-Campaign!=spring-1": "bcd",
    'header:Subject="Spring sale"': "abcde",
    "header:X-Campaign=body": "",
    "header:X-Campaign=spring* channel=bulk": "a",
    "queue=1,2": "abcde",
}


def found(daemon: Daemon, text: str) -> str:
    """Return who a filter finds, one letter each.

    The command is run in this process: there are many, and most of each would be its start.
    """
    out = io.StringIO()
    words = ["--config", str(daemon.file), "mail", "list", *split_words(text), "--json"]
    with contextlib.redirect_stdout(out):
        code = main(words)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert code == (0 if lines else 1), (text, code)
    return "".join(sorted(one["recipients"][0]["address"][0] for one in lines))


def send_all(daemon: Daemon) -> None:
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) as client:
        for number, (recipient, (sender, campaign)) in enumerate(MAIL.items(), 1):
            if recipient.startswith("e"):
                assert postroom(daemon, "delivery", "suspend")[0] == 0
            client.sendmail(sender, [recipient], CONTENT.format(campaign))
            if not recipient.startswith("e"):
                daemon.wait_for_event("deferred", number)
    words = ("recipient=e@null.example", "--reason", "odd")
    assert postroom(daemon, "mail", "quarantine", *words) == (0, "1 message quarantined\n")


@pytest.mark.seed(37)
def test_every_word_finds_what_it_names_with_and_without_a_server() -> None:
    with (
        SinkThread("rcpt reply=450 4.2.0 Try later") as sink,
        Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon,
    ):
        send_all(daemon)
        for text, letters in FOUND.items():
            assert found(daemon, text) == letters, text
        ids = {m["recipients"][0]["address"][0]: m["id"] for m in listed(daemon)}
        assert found(daemon, f"{ids['b']} id={ids['a']}") == "ab"
        assert [m["recipients"][0]["channel"] for m in listed(daemon, "domain=other.example")] == [
            "bulk"
        ]
        # One listing and one count agree; both are of what the filter names.
        [counted] = in_json(daemon, "mail", "count", "channel=bulk")
        assert counted["messages"] == 2 and sum(counted["queues"].values()) == 2

        daemon.stop()
        for text, letters in FOUND.items():
            if not text.startswith("site"):
                assert found(daemon, text) == letters, text
        code, out = postroom(daemon, "mail", "list", "site=relay:out")
        assert code == 75 and "site= needs it" in out and "postroom serve" in out, out


def test_what_selects_nothing_is_told_with_what_would() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        code, out = postroom(daemon, "mail", "delete", "domian=a.example", "--yes")
        assert code == 2 and 'domian=a.example: there is no condition "domian"' in out
        assert "expected domain=a.example" in out
        code, out = postroom(daemon, "mail", "list", "reply~(a+)+$")
        assert code == 2 and "reply~(a+)+$" in out and "regular expression" in out
