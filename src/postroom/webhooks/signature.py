"""The signature of a request, as Standard Webhooks 1.0 has it.

    webhook-id         of this body; the same at every try
    webhook-timestamp  seconds since 1970, of this try
    webhook-signature  "v1," and base64 of HMAC-SHA256 over "ID.TIMESTAMP.BODY", for each secret

Called by: webhooks.sender, tests.  Raises: nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

VERSION = "v1"
ID_LENGTH = 32


def headers(body: bytes, body_id: str, now: float, secrets: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of one request."""
    timestamp = str(int(now))
    signed = f"{body_id}.{timestamp}.".encode() + body
    signatures = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets)
    texts = (f"{VERSION},{base64.b64encode(one).decode()}" for one in signatures)
    return {
        "webhook-id": body_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(texts),
    }


def id_of(parts: Sequence[bytes]) -> str:
    """Return an id for a body that is made of these: the same whenever it is made again."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return f"msg_{digest.hexdigest()[:ID_LENGTH]}"
