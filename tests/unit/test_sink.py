"""The sink plays what its rules say, and keeps what it is sent octet by octet."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from postroom.sink.behaviour import Behaviour
from postroom.sink.profile import Profile, Rule, Site, parse_profile, parse_rule
from postroom.sink.recorder import Recorder
from postroom.sink.server import Sink


class Talker:
    """A client that says lines and reads whole replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def reply(self) -> str:
        lines = []
        while True:
            line = (await self._reader.readuntil(b"\r\n")).decode().rstrip()
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    async def say(self, *lines: str) -> list[str]:
        """Send lines together and return a reply for each."""
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode("latin-1"))
        return [await self.reply() for _ in lines]

    async def say_content(self, octets: bytes) -> str:
        self._writer.write(octets)
        return await self.reply()

    async def at_end(self) -> bool:
        return await self._reader.read() == b""


def talk(
    site: Site, conversation: Callable[[Talker, Sink], Awaitable[None]], recorder: Recorder
) -> Sink:
    """Run a conversation with a sink of one site; return the sink."""

    async def run() -> Sink:
        async with asyncio.timeout(10), Sink(Profile((site,)), recorder) as sink:
            streams = await asyncio.open_connection("127.0.0.1", sink.port(site.name))
            talker = Talker(*streams)
            await conversation(talker, sink)
            streams[1].close()
        return sink

    return asyncio.run(run())


def site(*rules: str, **fields: object) -> Site:
    return Site(listen=("127.0.0.1:0",), rules=tuple(parse_rule(rule) for rule in rules), **fields)  # type: ignore[arg-type]


async def hello(talker: Talker) -> None:
    assert (await talker.reply()).startswith("220 ")
    await talker.say("EHLO client.example")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"Subject: a\r\n\r\nline\r\n.\r\n", b"Subject: a\r\n\r\nline\r\n"),
        (b".\r\n", b""),
        (b"..dot\r\n...\r\n.\r\n", b".dot\r\n..\r\n"),
        (b"\r\n\xff\x00\r\n.\r\n", b"\r\n\xff\x00\r\n"),
    ],
)
def test_content_is_kept_octet_by_octet(sent: bytes, kept: bytes) -> None:
    recorder = Recorder()

    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        replies = await talker.say(
            "MAIL FROM:<a@b.example> SIZE=10", "RCPT TO:<c@d.example>", "DATA"
        )
        assert [reply[:3] for reply in replies] == ["250", "250", "354"]
        assert (await talker.say_content(sent)).startswith("250 ")

    sink = talk(site(), conversation, recorder)
    assert recorder.messages[0].octets == kept
    assert recorder.messages[0].parameters == "SIZE=10"
    assert sink.counters["sink"].octets == len(sent) - 3


def test_content_that_comes_octet_by_octet_is_the_same() -> None:
    recorder = Recorder()
    content = b"a\r\n..b\r\n\r\n.\r\n"

    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        await talker.say("MAIL FROM:<>", "RCPT TO:<c@d.example>", "DATA")
        for number in range(len(content) - 1):
            talker._writer.write(content[number : number + 1])
            await asyncio.sleep(0)
        assert (await talker.say_content(content[-1:])).startswith("250 ")

    sink = talk(site(), conversation, recorder)
    assert recorder.messages[0].octets == b"a\r\n.b\r\n\r\n"
    assert sink.counters["sink"].octets == len(content) - 3


def test_a_rule_refuses_one_recipient_and_not_the_others() -> None:
    recorder = Recorder()

    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        replies = await talker.say(
            "MAIL FROM:<a@b.example>", "RCPT TO:<No@D.example>", "RCPT TO:<yes@d.example>", "DATA"
        )
        assert replies[1:3] == ["550 5.1.1 No such user", "250 2.1.5 Ok"]
        await talker.say_content(b"x\r\n.\r\n")

    sink = talk(site("rcpt=no@* reply=550 5.1.1 No such user"), conversation, recorder)
    assert recorder.messages[0].recipients == ("yes@d.example",)
    assert sink.counters["sink"].refused == 1
    assert sink.counters["sink"].replies == {"550": 1}


def test_a_greylisted_recipient_is_taken_after_its_time() -> None:
    behaviour = Behaviour(site("rcpt=*@grey.example greylist=10s"), random.Random(1))
    triple = ("192.0.2.1", "a@b.example", "c@grey.example")

    def reply(now: float) -> str | None:
        verdict = behaviour.decide("rcpt", "c@grey.example", triple, now)
        return verdict.reply if verdict else None

    assert reply(100.0) == reply(109.9) == "451 4.7.1 Greylisted, come back later"
    assert reply(110.0) is None
    assert behaviour.decide("rcpt", "c@other.example", triple, 100.0) is None


def test_chance_follows_the_seed() -> None:
    def played(seed: int) -> list[bool]:
        behaviour = Behaviour(site("mail percent=30 drop"), random.Random(seed))
        return [behaviour.decide("mail", "", (), 0.0) is not None for _ in range(1000)]

    assert played(1) == played(1) != played(2)
    assert 250 < sum(played(1)) < 350


def test_a_rule_can_act_the_first_times_only() -> None:
    behaviour = Behaviour(site("data first=2 reply=451 4.3.0 Later"), random.Random(1))
    verdicts = [behaviour.decide("data", "", (), 0.0) for _ in range(3)]
    assert [verdict is not None for verdict in verdicts] == [True, True, False]


def test_a_delay_keeps_the_order_of_replies() -> None:
    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        before = asyncio.get_running_loop().time()
        replies = await talker.say("MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA")
        assert [reply[:3] for reply in replies] == ["250", "250", "354"]
        assert asyncio.get_running_loop().time() - before >= 0.02

    talk(site("mail delay=20ms"), conversation, Recorder())


def test_drop_ends_the_connection_without_a_word() -> None:
    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        talker._writer.write(b"MAIL FROM:<a@b.example>\r\n")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await talker.reply()

    assert talk(site("mail drop"), conversation, Recorder()).counters["sink"].dropped == 1


def test_a_connection_ends_with_421_after_enough_messages() -> None:
    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        await talker.say("MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA")
        await talker.say_content(b"x\r\n.\r\n")
        assert (await talker.say("MAIL FROM:<a@b.example>"))[0].startswith("421 ")
        assert await talker.at_end()

    talk(site(messages_max=1), conversation, Recorder())


def test_too_many_connections_are_greeted_with_421() -> None:
    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        streams = await asyncio.open_connection("127.0.0.1", sink.port())
        assert (await Talker(*streams).reply()).startswith("421 ")
        streams[1].close()

    sink = talk(site(connections_max=1), conversation, Recorder())
    assert sink.counters["sink"].open_max == 2


def test_commands_out_of_order_are_refused() -> None:
    async def conversation(talker: Talker, sink: Sink) -> None:
        await talker.reply()
        replies = await talker.say(
            "MAIL FROM:<a@b.example>", "EHLO c.example", "RCPT TO:<c@d.example>", "DATA",
            "MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example>", "MAIL nonsense", "BLAH", "QUIT",
        )  # fmt: skip
        codes = [reply[:3] for reply in replies]
        assert codes == ["503", "250", "503", "503", "250", "503", "501", "500", "221"]
        assert await talker.at_end()

    talk(site(), conversation, Recorder())


def test_a_strict_site_refuses_bare_newlines() -> None:
    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        for content in (b"a\nb\r\n.\r\n", b"a\rb\r\n.\r\n"):
            await talker.say("MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA")
            assert (await talker.say_content(content)).startswith("550 5.6.11")

    assert talk(site(strict=True), conversation, Recorder()).counters["sink"].messages == 0


def test_an_announced_size_beyond_the_limit_is_refused() -> None:
    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        assert (await talker.say("MAIL FROM:<a@b.example> SIZE=1001"))[0].startswith("552 5.3.4")

    talk(site(size_limit_octets=1000), conversation, Recorder())


@pytest.mark.parametrize("as_files", [False, True])
def test_messages_are_recorded_on_disk(tmp_path: Path, as_files: bool) -> None:
    path = f"{tmp_path}/mail/" if as_files else f"{tmp_path}/mail.jsonl"

    async def conversation(talker: Talker, sink: Sink) -> None:
        await hello(talker)
        await talker.say("MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA")
        await talker.say_content(b"\xe9\r\n.\r\n")

    talk(site(), conversation, Recorder(path, sync=True))
    if as_files:
        assert (tmp_path / "mail" / "sink-00000001.eml").read_bytes() == b"\xe9\r\n"
        envelope = json.loads((tmp_path / "mail" / "sink-00000001.json").read_text())
    else:
        envelope = json.loads(Path(path).read_text())
        assert envelope["content"].encode("latin-1") == b"\xe9\r\n"
    assert envelope["recipients"] == ["c@d.example"]


def test_a_profile_describes_several_sites() -> None:
    profile = parse_profile(
        """
        seed = 3
        [site.slow]
        listen = ["127.0.0.1:0"]
        tarpit = "100ms"
        rules = ["rcpt=*@X.example percent=50 reply=451 4.7.1 Later on"]
        [site.fast]
        listen = ["127.0.0.1:0"]
        messages_max = 5
        """
    )
    slow, fast = profile.sites
    assert (profile.seed, slow.name, slow.tarpit_s, fast.messages_max) == (3, "slow", 0.1, 5)
    assert slow.rules == (
        Rule("rcpt", pattern="*@x.example", percent=50.0, reply="451 4.7.1 Later on"),
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sites = 1", "'sites'"),
        ("seed = 1", r"\[site.NAME\]"),
        ("[site.a]\nrules = ['rcpt reply=abc']", "three digits"),
        ("[site.a]\nrules = ['never drop']", "'never'"),
        ("[site.a]\nrules = ['rcpt sometimes']", "'sometimes'"),
        ("[site.a]\nrules = ['rcpt delay=long']", "not a duration"),
        ("[site.a]\ncolour = 'red'", "'colour'"),
        ("[site", "not TOML"),
    ],
)
def test_a_wrong_profile_is_refused_with_what_is_wrong(text: str, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        parse_profile(text)
