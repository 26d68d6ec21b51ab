"""A server with a bit of everything: what works, what is stuck, and what is hostile.

`good` takes mail but for some recipients, `strict` refuses every sender for its rate. One relay
of route `out` is down. Channel `news` is suspended, source `west` paused, and one message held
and one quarantined.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

from postroom.control.tokens import Role
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http
from tests.support.sink import SinkThread

MARKUP = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
RATE = "421 4.7.28 Too many connections, and an unusual rate of mail, from your address"


class Town:
    """The server, its sinks and its users."""

    def __init__(self, queues: int = 3, *, is_hostile: bool = True) -> None:
        self._stack = ExitStack()
        self.good = self._stack.enter_context(
            SinkThread(
                "rcpt=unknown*@* reply=550 5.1.1 No such user",
                "rcpt=late*@* reply=451 4.7.1 Greylisted, try again later",
                f"rcpt=hostile*@* reply=451 4.7.1 {MARKUP}",
            )
        )
        self.strict = self._stack.enter_context(SinkThread(f"mail reply={RATE}"))
        self.daemon = self._stack.enter_context(
            Daemon(relay=self.good.port, queues=queues, config=self._config())
        )
        self.operator = Http.of(self.daemon, Role.OPERATOR, "anna")
        self.viewer = Http.of(self.daemon, Role.VIEWER, "watcher")
        self.fill()
        if is_hostile:
            self.fill_hostile()

    def _config(self) -> str:
        good, strict = f"127.0.0.1:{self.good.port}", f"127.0.0.1:{self.strict.port}"
        return f"""{CONSOLE}
[route.out]
type = "relay"
policy = "weighted"
relays = [ {{ host = "{good}", weight = 70 }}, {{ host = "127.0.0.1:1", weight = 30 }} ]
[route.strict]
type = "relay"
host = "{strict}"
[channel.provider]
match = ["provider.example"]
route = "strict"
concurrency = 20
[channel.lists]
match = ["lists.example"]
route = "out"
concurrency = 8
rate = "6000/1m"
retry = "list 1s for 5d"
[channel.news]
match = ["news.example"]
[channel.spare]
match = ["spare.example"]
concurrency = 4
[source.east]
address = "127.0.0.1"
[source.west]
address = "127.0.0.2"
"""

    def fill(self) -> None:
        """Bring it to the state that pages show."""
        daemon = self.daemon
        daemon.control("channel suspend", {"name": "news"})
        daemon.control(
            "source pause",
            {"name": "west", "site": "", "for_s": 7200.0, "reason": "on a blocklist"},
        )
        to = {
            "news.example": 12, "provider.example": 8, "lists.example": 10, "a.example": 6,
        }  # fmt: skip
        for domain, many in to.items():
            for number in range(many):
                name = {0: "late", 1: "unknown"}.get(number, "reader")
                daemon.send("bounces@sender.example", [f"{name}{number}@{domain}"])
        daemon.wait_for_event("deferred")

    def fill_hostile(self) -> None:
        """Have a message from and to those who would like to be markup."""
        daemon = self.daemon
        daemon.send(
            '"<b>bold</b>"@sender.example',
            ["hostile@lists.example", "second@news.example"],
            f"Subject: {MARKUP}\r\n\r\n{MARKUP}\r\n",
        )
        daemon.wait_until(
            lambda: any("onerror" in str(one) for one in daemon.events("deferred")), 60, "hostile"
        )

    def __enter__(self) -> Town:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
