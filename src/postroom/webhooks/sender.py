"""The sender: posts one body, and says what came of it.

The one place of webhooks that talks HTTP; its library is loaded here. Nothing of a URL but its
host is ever in an error: a path or query may be a secret of the receiver's.

Called by: webhooks.service, cli.webhooks.  Raises: ConfigurationError from `Sender` for secrets
that cannot be used.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from urllib.parse import urlsplit

import aiohttp
import msgspec

from postroom import __version__
from postroom.config.webhook import OTLP, WebhookPolicy
from postroom.core.clock import Clock
from postroom.webhooks.answers import Answer, of_events, of_spans
from postroom.webhooks.batch import Batch
from postroom.webhooks.credentials import Credentials

ANSWER_OCTETS_MAX = 1 << 14
"""Read of an answer, so that the connection can be used again; more ends it."""


class Sender:
    """Posts to one webhook, over connections that are kept open."""

    def __init__(self, policy: WebhookPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._credentials = Credentials(policy)
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
        host = urlsplit(self._policy.url).hostname
        sent = {
            **self._credentials.headers(batch.body, batch.id, self._clock.now()),
            "content-type": "application/json",
            # What is answered is read as it comes.
            "accept-encoding": "identity",
            "user-agent": f"postroom/{__version__}",
        }
        try:
            async with self._session.post(
                self._policy.url, data=batch.body, headers=sent, allow_redirects=False
            ) as response:
                body = await _read(response)
                return self._answer(response, body, batch)
        except TimeoutError:
            return Answer(f"{host}: no answer within {self._policy.timeout_s:g} s")
        except aiohttp.ClientConnectorCertificateError:
            return Answer(f"{host}: its certificate is not to be trusted")
        except aiohttp.ClientConnectorError as error:
            return Answer(f"{host}: no connection: {error.os_error.strerror or 'not reachable'}")
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            return Answer(f"{host}: {type(error).__name__}")

    def _answer(self, response: aiohttp.ClientResponse, body: bytes, batch: Batch) -> Answer:
        if self._policy.format != OTLP:
            return of_events(response.status, response.headers)
        answer = of_spans(response.status, response.headers, body, batch.count)
        if not answer.error:
            return answer
        return msgspec.structs.replace(answer, error=self._credentials.hidden(answer.error))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > ANSWER_OCTETS_MAX:
            break
    return bytes(body[:ANSWER_OCTETS_MAX])
