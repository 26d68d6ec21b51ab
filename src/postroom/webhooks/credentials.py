"""Credentials of one webhook: the secrets that sign, and the value of an Authorization header.

They stand in files, which are read anew when they change. A file that is just being written, or
cannot be read, leaves what was known in use.

Guarantees: 1. nothing that `hidden` was given tells a credential.
Called by: webhooks.sender.  Raises: ConfigurationError from `Credentials` for files that cannot be
used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from postroom.config.webhook import WebhookPolicy, read_authorization, read_secrets
from postroom.core.errors import ConfigurationError
from postroom.webhooks import signature

T = TypeVar("T")


class _Watched(Generic[T]):
    """What a file holds, as far as it can be used; `empty` where there is no file."""

    def __init__(self, path: str, read: Callable[[str], T], empty: T) -> None:
        self._path = path
        self._read = read
        self._changed_at = _changed_at(path)
        self._value = read(path) if path else empty

    def now(self) -> T:
        changed_at = _changed_at(self._path)
        if changed_at not in (0, self._changed_at):
            with contextlib.suppress(ConfigurationError):
                self._value = self._read(self._path)
                self._changed_at = changed_at
        return self._value


class Credentials:
    """What requests to one webhook carry to say who we are."""

    def __init__(self, policy: WebhookPolicy) -> None:
        self._secrets = _Watched[tuple[bytes, ...]](policy.secret_file, read_secrets, ())
        self._authorization = _Watched[str](policy.authorization_file, read_authorization, "")

    def headers(self, body: bytes, body_id: str, now: float) -> dict[str, str]:
        """Return the headers of one request."""
        secrets, authorization = self._secrets.now(), self._authorization.now()
        headers = signature.headers(body, body_id, now, secrets) if secrets else {}
        return headers | ({"authorization": authorization} if authorization else {})

    def hidden(self, text: str) -> str:
        """Return what a receiver said, without the value that we sent it."""
        authorization = self._authorization.now()
        for one in (authorization, authorization.rpartition(" ")[2]):
            text = text.replace(one, "…") if one else text
        return text


def _changed_at(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns if path else 0
    except OSError:
        return 0
