"""Settings of webhooks, and what must hold of them.

Called by: config.settings, config.build, config.checks.  Raises: Misread; mistakes are gathered.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from postroom.config.addresses import is_loopback
from postroom.config.given import Gathered, Name
from postroom.config.kinds import (
    Boolean,
    FilePath,
    ListOf,
    Misread,
    Mistake,
    Place,
    Text,
    misunderstood,
    shown,
)
from postroom.config.measures import Duration, Integer
from postroom.config.model import Config
from postroom.config.setting import Setting, Table
from postroom.config.webhook import WebhookPolicy, read_secrets
from postroom.core.errors import ConfigurationError
from postroom.observe.stream.wanted import event_names

DAY_S = 86400.0
URL_MAX = 2000


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL without a user name, a password or a fragment."""

    expected: str = 'a URL: "https://example.org/events"'

    def read(self, given: object, place: Place) -> str:
        """Return the URL."""
        if not isinstance(given, str) or len(given) > URL_MAX or not given.isprintable():
            raise misunderstood(given, self.expected)
        try:
            parts = urlsplit(given)
            is_whole = bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_whole = False
        if not is_whole or parts.scheme not in ("http", "https") or " " in given:
            raise misunderstood(given, self.expected)
        if parts.username is not None or parts.fragment:
            # Not the URL itself: what stands there may be a password.
            text = "a user name, password or fragment in a URL; the signature says who we are"
            raise Misread(Mistake(text, self.expected))
        return given

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: str) -> str:
        """The value is plain already."""
        return value


class EventName(Text):
    """The name of an event."""

    def read(self, given: object, place: Place) -> str:
        """Return the name."""
        text = Text.read(self, given, place)
        try:
            event_names((text,))
        except ValueError as error:
            raise Misread(Mistake(str(error))) from None
        return text


_NAME = Text(255, "a name", ".+")

WEBHOOK = Table(
    "webhook",
    "A receiver that is told of events over HTTP, signed, in their order, and again until it has "
    "taken them ([Webhooks](how-to/webhooks.md)).",
    WebhookPolicy,
    (
        Setting(
            "url", Url(), "url",
            "Where they are posted. Plain `http` only on this machine, unless `allow_http`. "
            "Redirects are not followed.", '"https://example.org/postroom"',
        ),
        Setting(
            "secret_file", FilePath(), "secret_file",
            "The file with the secret that signs (`postroom webhook secret` makes one). Others "
            "must not be able to read it. With several, one a line, each signs.",
            '"/etc/postroom/webhook.secret"',
        ),
        Setting(
            "events", ListOf(EventName(64, "the name of an event", "[a-z-]+"), most=100), "events",
            "Only these events ([Events](events.md)), `expired` and `quarantined` as well.",
            '["delivered", "failed"]', default="all",
        ),
        Setting(
            "queue", _NAME, "queue", "Only of this queue, or about it.", '"queue1"', default="all",
        ),
        Setting(
            "channel", _NAME, "channel", "Only of mail of this channel.", '"gmail"', default="all",
        ),
        Setting(
            "site", _NAME, "site", "Only of mail for this site.", '"example.com"', default="all",
        ),
        Setting(
            "tenant", _NAME, "tenant", "Only of mail of this tenant.", '"shop"', default="all",
        ),
        Setting(
            "batch", Integer(1, 1000), "batch",
            "How many events there are at most in one request.", "1",
        ),
        Setting(
            "concurrency", Integer(1, 64), "concurrency",
            "Requests at one time. With more than 1 only the events of one message are sure to "
            "come in order.", "4",
        ),
        Setting(
            "timeout", Duration(0.1, 300), "timeout_s",
            "How long a request may take.", '"30s"',
        ),
        Setting(
            "retry_max", Duration(1, DAY_S), "retry_max_s",
            "The longest time between two tries; it begins with about a second and doubles.",
            '"15m"',
        ),
        Setting(
            "max_age", Duration(1, 3650 * DAY_S, never=True), "max_age_s",
            "Events that are older by the time they could be sent are left out, which a `missed` "
            "event tells. `never`: all that are kept are sent (`events.keep`).",
            '"1d"', default='"never"',
        ),
        Setting(
            "allow_http", Boolean(), "allow_http",
            "Post over plain HTTP to other machines too: whoever listens reads the events.",
            "true",
        ),
    ),
    named=True,
)  # fmt: skip


def check_webhooks(config: Config, gathered: Gathered) -> None:
    """Note what cannot be, and what is not safe."""
    for one in config.webhooks:
        name = Name("webhook", one.name, "url")
        where = gathered.where(name)
        parts = urlsplit(one.url)
        if parts.scheme == "http" and not one.allow_http and not is_loopback(parts.hostname or ""):
            text = f"{shown(parts.hostname)} would get events in the clear; expected https, or "
            gathered.mistakes.add(where, name, f"{text}allow_http = true where the way is safe")
        if not config.events.is_kept:
            text = "there is no event stream to send from; expected another [events] directory"
            gathered.mistakes.add(where, name, text)
        if one.queue and not one.queue.startswith(("queue", "master")):
            setting = Name("webhook", one.name, "queue")
            text = f'{shown(one.queue)} is no queue; expected "queue1" for instance'
            gathered.mistakes.add(gathered.where(setting), setting, text)


def check_webhook_secret(webhook: WebhookPolicy, gathered: Gathered) -> None:
    """Note a file without secrets that can be used."""
    try:
        read_secrets(webhook.secret_file)
    except ConfigurationError as error:
        name = Name("webhook", webhook.name, "secret_file")
        gathered.mistakes.add(gathered.where(name), name, str(error))
