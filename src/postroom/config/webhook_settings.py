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
    Choice,
    FilePath,
    ListOf,
    Misread,
    Mistake,
    Place,
    Text,
    misunderstood,
    shown,
)
from postroom.config.measures import Duration, Integer, Share
from postroom.config.model import Config
from postroom.config.setting import Setting, Table
from postroom.config.webhook import (
    EVENTS,
    OTLP,
    TRACE_EVENTS,
    WebhookPolicy,
    read_authorization,
    read_secrets,
)
from postroom.core.errors import ConfigurationError
from postroom.observe.stream.wanted import SPECIAL, event_names

DAY_S = 86400.0
SAMPLE_LEAST = 0.0001
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
            text = "a user name, password or fragment in a URL; a signature says who we are, or "
            text += "authorization_file"
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
    "taken them ([Webhooks](how-to/webhooks.md)), or gets spans made of them "
    "([Traces](how-to/traces.md)).",
    WebhookPolicy,
    (
        Setting(
            "url", Url(), "url",
            "Where they are posted. Plain `http` only on this machine, unless `allow_http`. "
            "Redirects are not followed.", '"https://example.org/postroom"',
        ),
        Setting(
            "format", Choice((EVENTS, OTLP)), "format",
            "What is posted: the events, or with `otlp` spans of OpenTelemetry made of them, to a "
            "collector's URL for traces (OTLP/HTTP, JSON).", '"otlp"',
        ),
        Setting(
            "secret_file", FilePath(), "secret_file",
            "The file with the secret that signs (`postroom webhook secret` makes one). Others "
            "must not be able to read it. With several, one a line, each signs. Not needed with "
            '`format = "otlp"`.',
            '"/etc/postroom/webhook.secret"',
        ),
        Setting(
            "authorization_file", FilePath(), "authorization_file",
            "A file with the value of an Authorization header to send, such as `Bearer` and a "
            "token. Others must not be able to read it. It is read anew when it changes.",
            '"/etc/postroom/collector.authorization"', default="no such header",
        ),
        Setting(
            "events", ListOf(EventName(64, "the name of an event", "[a-z-]+"), most=100), "events",
            "Only these events ([Events](events.md)), `expired` and `quarantined` as well. With "
            f"`otlp` of {', '.join(f'`{name}`' for name in TRACE_EVENTS)}.",
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
            "How many events, or spans, there are at most in one request.", "1",
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
            "sample", Share(SAMPLE_LEAST, 1.0), "sample",
            "Which part of all messages has its trace sent, whole, with `otlp`.", "0.1",
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
        _check_form(one, gathered)
        if (
            one.authorization_file
            and parts.scheme == "http"
            and not is_loopback(parts.hostname or "")
        ):
            setting = Name("webhook", one.name, "authorization_file")
            text = "it goes over plain http, so whoever listens can use it"
            gathered.warnings.append(f"{gathered.where(setting)}: {setting}: {text}")


def _check_form(one: WebhookPolicy, gathered: Gathered) -> None:
    """Note what does not go with what is sent."""

    def wrong(setting: str, text: str) -> None:
        name = Name("webhook", one.name, setting)
        gathered.mistakes.add(gathered.where(name), name, text)

    if one.format != OTLP:
        if one.sample != 1.0:
            wrong("sample", f'not with format = "{EVENTS}"; expected format = "{OTLP}"')
        return
    for event in one.events:
        if SPECIAL.get(event, event) not in TRACE_EVENTS:
            wrong("events", f"no span is made of {event}; expected {', '.join(TRACE_EVENTS)}")
    for setting in ("channel", "site", "tenant"):
        if getattr(one, setting):
            # Most events of a message do not say so, done for instance.
            wrong(setting, "a trace would lack its root; expected none, or a filter in a collector")
    if urlsplit(one.url).path in ("", "/"):
        wrong("url", 'a collector takes traces at a path; expected it, such as "/v1/traces"')


def check_webhook_files(webhook: WebhookPolicy, gathered: Gathered) -> None:
    """Note files without secrets, or without a header's value, that can be used."""
    for setting, path, read in (
        ("secret_file", webhook.secret_file, read_secrets),
        ("authorization_file", webhook.authorization_file, read_authorization),
    ):
        try:
            if path:
                read(path)
        except ConfigurationError as error:
            name = Name("webhook", webhook.name, setting)
            gathered.mistakes.add(gathered.where(name), name, str(error))
