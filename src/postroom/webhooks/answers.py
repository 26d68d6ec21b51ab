"""Answers: what the status and body of a response mean for what was sent.

A receiver of events takes them with 2xx, and anything else is tried again. A collector of spans
goes by the rules of OTLP/HTTP: four statuses are tried again, any other 4xx or 5xx says that what
was sent is not wanted, and a 200 may say that a part was not.

Pure.  Called by: webhooks.sender, webhooks.consumer.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_TOO_MANY, _UNAVAILABLE = 429, 503
_AGAIN = (_TOO_MANY, 502, _UNAVAILABLE, 504)
"""OTLP, "Retryable Response Codes": these alone."""
_SAID_MAX = 160


class Answer(msgspec.Struct, frozen=True):
    """What came of a request: `error` is "" where all of it was taken.

    `is_final`: what was not taken, `refused` spans, is not wanted and not sent again.
    """

    error: str = ""
    retry_after_s: float = 0.0
    is_final: bool = False
    refused: int = 0

    @property
    def is_taken(self) -> bool:
        """True where nothing was refused, and nothing is to be sent again."""
        return not self.error or (self.is_final and not self.refused)


class _Partial(msgspec.Struct, frozen=True, rename="camel"):
    rejected_spans: int = 0
    error_message: str = ""


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    partial_success: _Partial | None = None


class _Status(msgspec.Struct, frozen=True):
    message: str = ""


# Not strict: in the JSON of protobuf a number of 64 bits is a text.
_response = msgspec.json.Decoder(_Response, strict=False).decode
_status = msgspec.json.Decoder(_Status).decode


def of_events(status: int, fields: Mapping[str, str]) -> Answer:
    """Return what a receiver of events answered."""
    # RFC 9110 §15: 2xx is success; 3xx would be another place, which nobody configured.
    if 200 <= status < 300:
        return Answer()
    waits = status in (_TOO_MANY, _UNAVAILABLE)
    return Answer(f"HTTP status {status}", _retry_after_s(fields) if waits else 0.0)


def of_spans(status: int, fields: Mapping[str, str], body: bytes, spans: int) -> Answer:
    """Return what a collector answered to so many spans."""
    if 200 <= status < 300:
        return _partial(body, spans)
    error = f"HTTP status {status}"
    if status in _AGAIN:
        return Answer(error, _retry_after_s(fields))
    if status < 400:
        return Answer(error)
    try:
        said = _said(_status(body).message)
    except msgspec.DecodeError:
        said = ""
    return Answer(f"{error}: {said}" if said else error, is_final=True, refused=spans)


def _partial(body: bytes, spans: int) -> Answer:
    try:
        partial = _response(body).partial_success if body else None
    except msgspec.DecodeError:
        return Answer()  # the status has said that they were taken
    if partial is None or not (partial.rejected_spans or partial.error_message):
        return Answer()
    refused = min(max(0, partial.rejected_spans), spans)
    said = _said(partial.error_message) or "no reason given"
    error = f"partial success: {said}" if refused else said
    return Answer(error, is_final=True, refused=refused)


def _said(text: str) -> str:
    plain = "".join(one if one.isprintable() else " " for one in text[:_SAID_MAX])
    return " ".join(plain.split())


def _retry_after_s(fields: Mapping[str, str]) -> float:
    given = fields.get("retry-after", "")
    # RFC 9110 §10.2.3: seconds, or a date, which is left to our own times.
    return float(given) if given.isascii() and given.isdigit() and len(given) < 8 else 0.0
