"""Policy files: what is loaded, what is answered, and what becomes of every kind of failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.clock import ManualClock
from postroom.core.reply import Reply
from postroom.hooks import Client, Defer, Hold, Message, Refuse
from postroom.hooks.loader import PolicyError, load
from postroom.hooks.runner import FAILED, HookFailed, Hooks, PolicySettings, load_hooks
from postroom.observe.events import EventList, PolicyFailed

CLIENT = Client("192.0.2.1", "smtp", "anna", "me.example", "TLSv1.3")
CONTENT = (b"Subject: one\r\n two\r\nX-Campaign: a\r\nx-campaign: b\r\n\r\nX-Campaign: body\r\n",)


def hooks(
    tmp_path: Path, text: str, on_failure: str = "defer", limit_s: float = 0.05
) -> tuple[Hooks, EventList]:
    tmp_path.chmod(0o700)
    path = tmp_path / "policy.py"
    path.write_text("from postroom.hooks import Client, Defer, Hold, Message, Refuse\n" + text)
    events = EventList()
    made = load_hooks(PolicySettings(str(path), limit_s, on_failure), ManualClock(), events)
    assert made is not None
    return made, events


def message() -> Message:
    return Message(CLIENT, "a@x.example", ["b@y.example"], CONTENT)


def test_answers_are_replies_holds_and_channels(tmp_path: Path) -> None:
    made, events = hooks(
        tmp_path,
        "def on_connect(client):\n"
        "    return Refuse('no') if client.address == '192.0.2.1' else None\n"
        "def on_recipient(client, sender, recipient):\n"
        "    return Defer('later', 450, '4.2.0') if recipient.startswith('slow') else None\n"
        "def on_message(message):\n"
        "    return Hold('test') if message.header('X-Campaign') == 'a' else None\n"
        "def route(domain):\n"
        "    return 'big' if domain.endswith('.example') else None\n",
    )
    assert made.connect(CLIENT) == Reply(550, "5.7.1", "no")
    assert made.connect(Client("192.0.2.2", "smtp")) is None
    assert made.recipient(CLIENT, "", "slow@x") == Reply(450, "4.2.0", "later")
    assert made.recipient(CLIENT, "", "fast@x") is None
    held = made.message(message())
    assert isinstance(held, Hold) and held.reason == "test"
    assert (made.route("a.example"), made.route("b.org")) == ("big", None)
    assert events.events == []


def test_headers_are_found_without_case_unfolded_and_not_in_the_body() -> None:
    one = message()
    assert one.header("subject") == "one two"
    assert one.headers("X-Campaign") == ["a", "b"]
    assert one.header("X-None") == "" and one.size_octets == len(CONTENT[0])


@pytest.mark.parametrize(
    ("body", "says", "line"),
    [
        ("raise ValueError('odd')", "ValueError: odd", 3),
        ("return 'yes'", "returned 'yes'", 0),
        ("return Refuse('no', 250)", "250 is no code of Refuse", 3),
        ("while True: pass", "longer than 50 ms", 3),
        ("import time; time.sleep(5)", "longer than 50 ms", 3),
        ("import re; re.match('(a+)+b', 'a' * 40)", "longer than 50 ms", 3),
    ],
)
def test_a_hook_that_fails_defers_and_is_told_with_its_line(
    tmp_path: Path, body: str, says: str, line: int
) -> None:
    text = f"def on_message(message):\n    {body}\ndef on_connect(client):\n    {body}\n"
    made, events = hooks(tmp_path, text)
    assert made.message(message()) == FAILED
    [told] = [event for event in events.events if isinstance(event, PolicyFailed)]
    assert says in told.error and told.line in (line, line or told.line)
    made.message(message())
    assert len(events.events) == 1, "once in ten seconds"
    accepting, _ = hooks(tmp_path, text, "accept")
    assert accepting.message(message()) is None and accepting.connect(CLIENT) is None


def test_a_route_that_fails_raises_so_that_the_mail_is_deferred(tmp_path: Path) -> None:
    made, _ = hooks(tmp_path, "def route(domain):\n    return 1 / 0\n", "accept")
    with pytest.raises(HookFailed, match="ZeroDivisionError"):
        made.route("x.example")


def test_without_a_file_there_is_nothing_to_ask() -> None:
    assert load_hooks(PolicySettings(), ManualClock(), EventList()) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def on_message(:\n", ":1: "),
        ("\n1 / 0\n", ":2: ZeroDivisionError"),
        ("import nowhere\n", ":1: ModuleNotFoundError"),
        ("def on_message():\n    pass\n", ":1: on_message must take 1 argument"),
        ("async def route(domain):\n    pass\n", ":1: route is async"),
        ("on_connect = 3\n", "on_connect is no function"),
        ("x = 1\n", "none of on_connect"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_file_and_line(
    tmp_path: Path, text: str, says: str
) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "policy.py"
    path.write_text(text)
    with pytest.raises(PolicyError) as caught:
        load(path)
    assert str(path) in str(caught.value) and says in str(caught.value)


def test_a_file_that_others_may_write_to_is_not_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "policy.py"
    path.write_text("def route(domain):\n    return None\n")
    path.chmod(0o666)
    with pytest.raises(PolicyError, match="may be written to by group or others"):
        load(path)
    with pytest.raises(PolicyError, match="No such file"):
        load(tmp_path / "missing.py")


@given(st.integers(), st.text(max_size=8), st.text(max_size=30))
def test_no_answer_can_be_made_that_is_no_reply(code: int, enhanced: str, text: str) -> None:
    for kind, first in ((Refuse, "5"), (Defer, "4")):
        try:
            answer = kind(text, code, enhanced)
        except ValueError:
            continue
        assert str(answer.reply.code)[0] == answer.reply.enhanced[0] == first
        assert b"\n" not in answer.reply.encode()[:-2]


def test_the_file_of_the_documentation_can_be_used(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "policy.md"
    text = page.read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    tmp_path.chmod(0o700)
    (tmp_path / "policy.py").write_text(text)
    settings = PolicySettings(str(tmp_path / "policy.py"))
    made = load_hooks(settings, ManualClock(), EventList())
    assert made is not None
    refused = made.connect(Client("203.0.113.9", "smtp"))
    assert refused is not None and refused.code == 550
    assert made.connect(CLIENT) is None
    assert made.recipient(CLIENT, "", "x@internal.example") is not None
    many = Message(CLIENT, "", ["r@x.example"] * 101, (b"X-Campaign: spring\r\n\r\n",))
    assert isinstance(made.message(many), Hold)
    assert made.route("a.example.net") == "slow" and made.route("x.org") is None
