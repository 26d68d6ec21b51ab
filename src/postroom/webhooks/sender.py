"""The sender: posts one signed body, and says what came of it.

The one place of webhooks that talks HTTP; its library is loaded here. Nothing of a URL but its
host is ever in an error: a path or query may be a secret of the receiver's.

Called by: webhooks.service, cli.webhooks.  Raises: ConfigurationError from `Sender` for secrets
that cannot be used.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import aiohttp

from postroom import __version__
from postroom.config.webhook import WebhookPolicy, read_secrets
from postroom.core.clock import Clock
from postroom.core.errors import ConfigurationError
from postroom.webhooks.batch import Batch
from postroom.webhooks.consumer import Answer
from postroom.webhooks.signature import headers

ANSWER_OCTETS_MAX = 4096
"""Read of an answer, so that the connection can be used again; more ends it."""
_TOO_MANY, _UNAVAILABLE = 429, 503


class Sender:
    """Posts to one webhook, over connections that are kept open."""

    def __init__(self, policy: WebhookPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._changed_at = _changed_at(policy.secret_file)
        self._secrets = read_secrets(policy.secret_file)
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=policy.timeout_s),
            connector=aiohttp.TCPConnector(limit=policy.concurrency),
            # No proxy of the environment and no cookies: what is configured is all there is.
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(self, batch: Batch) -> Answer:
        """Post a batch; return whether it was taken, else why not."""
        self._look_at_secrets()
        signed = headers(batch.body, batch.id, self._clock.now(), self._secrets)
        host = urlsplit(self._policy.url).hostname
        sent = {
            **signed,
            "content-type": "application/json",
            "user-agent": f"postroom/{__version__}",
        }
        try:
            async with self._session.post(
                self._policy.url, data=batch.body, headers=sent, allow_redirects=False
            ) as response:
                await response.content.read(ANSWER_OCTETS_MAX)
                return _answer(response.status, response.headers)
        except TimeoutError:
            return Answer(f"{host}: no answer within {self._policy.timeout_s:g} s")
        except aiohttp.ClientConnectorCertificateError:
            return Answer(f"{host}: its certificate is not to be trusted")
        except aiohttp.ClientConnectorError as error:
            return Answer(f"{host}: no connection: {error.os_error.strerror or 'not reachable'}")
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            return Answer(f"{host}: {type(error).__name__}")

    def _look_at_secrets(self) -> None:
        """Read the secrets anew where their file has changed."""
        changed_at = _changed_at(self._policy.secret_file)
        if changed_at in (0, self._changed_at):
            return
        # One that is just being written cannot be used: then the old ones sign once more.
        with contextlib.suppress(ConfigurationError):
            self._secrets = read_secrets(self._policy.secret_file)
            self._changed_at = changed_at


def _changed_at(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def _answer(status: int, fields: Mapping[str, str]) -> Answer:
    # RFC 9110 §15: 2xx is success; 3xx would be another place, which nobody configured.
    if 200 <= status < 300:
        return Answer()
    after_s = 0.0
    if status in (_TOO_MANY, _UNAVAILABLE):
        given = fields.get("retry-after", "")
        # RFC 9110 §10.2.3: seconds, or a date, which is left to our own times.
        after_s = float(given) if given.isascii() and given.isdigit() and len(given) < 8 else 0.0
    return Answer(f"HTTP status {status}", after_s)
