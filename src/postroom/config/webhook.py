"""The `[webhook.NAME]` tables: who is told of events over HTTP, and by which secrets.

A secret is written as Standard Webhooks has it: "whsec_" and base64 of 24 to 64 octets. A file
may hold several, one a line: each request is signed with all, so that they can be changed while
receivers go on. A collector of spans may want an Authorization header instead, whose value is in
a file too.

Called by: config, webhooks, cli.  Raises: ConfigurationError from `read_secrets` and
`read_authorization`.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

import msgspec

from postroom.core.errors import ConfigurationError
from postroom.observe.stream.wanted import Wanted

SECRET_PREFIX = "whsec_"
SECRET_OCTETS_MIN, SECRET_OCTETS_MAX = 24, 64
SECRETS_MAX = 8
_FILE_OCTETS_MAX = 4096
EVENTS, OTLP = "events", "otlp"
"""What is sent: the events as they are, or spans made of them."""
TRACE_EVENTS = ("accepted", "delivered", "deferred", "failed", "report", "split", "done", "deleted")
"""The events that spans are made of."""
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""RFC 9110 §5.5: what the value of a header may be, as far as it is ASCII."""


class WebhookPolicy(msgspec.Struct, frozen=True):
    """One receiver of events. `max_age_s` 0: events are sent however old they are by then.

    `sample` is the part of all traces that is sent.
    """

    name: str
    url: str = ""
    format: str = EVENTS
    secret_file: str = ""
    authorization_file: str = ""
    events: tuple[str, ...] = ()
    queue: str = ""
    channel: str = ""
    site: str = ""
    tenant: str = ""
    batch: int = 100
    concurrency: int = 1
    timeout_s: float = 10.0
    retry_max_s: float = 300.0
    max_age_s: float = 0.0
    sample: float = 1.0
    allow_http: bool = False

    @property
    def wanted(self) -> Wanted:
        """Which events it is told."""
        events = self.events or (TRACE_EVENTS if self.format == OTLP else ())
        return Wanted("", events, self.queue, self.channel, self.site, "", self.tenant)


def read_secrets(path: str) -> tuple[bytes, ...]:
    """Return the secrets in a file, the first one first; raises ConfigurationError."""
    try:
        text = Path(path).read_bytes()[:_FILE_OCTETS_MAX].decode("ascii")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: line 1 is no secret; {_EXPECTED}") from error
    lines = [line.strip() for line in text.splitlines()]
    secrets = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            octets = base64.b64decode(line.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            octets = b""
        long_enough = SECRET_OCTETS_MIN <= len(octets) <= SECRET_OCTETS_MAX
        if not line.startswith(SECRET_PREFIX) or not long_enough:
            # Never the line itself: it may be a secret of another form.
            raise ConfigurationError(f"{path}: line {number} is no secret; {_EXPECTED}")
        secrets.append(octets)
    if not 1 <= len(secrets) <= SECRETS_MAX:
        raise ConfigurationError(f"{path}: {len(secrets)} secrets; expected 1 to {SECRETS_MAX}")
    return tuple(secrets)


def read_authorization(path: str) -> str:
    """Return the value of an Authorization header in a file; raises ConfigurationError."""
    try:
        text = Path(path).read_bytes()[: _FILE_OCTETS_MAX + 1].decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    if len(text) > _FILE_OCTETS_MAX or not _VALUE.fullmatch(text):
        # Never the value itself.
        raise ConfigurationError(
            f"{path} holds no value of an Authorization header; expected one line of ASCII, "
            'such as "Bearer " and a token'
        )
    return text


_EXPECTED = (
    f'expected "{SECRET_PREFIX}" and base64 of {SECRET_OCTETS_MIN} to {SECRET_OCTETS_MAX} octets, '
    "as `postroom webhook secret` makes one"
)
