"""From the text of a request to typed values, or a problem that names the field.

Called by: console.dispatch.  Raises: Problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from postroom.api.problem import Problem
from postroom.config.kinds import did_you_mean
from postroom.core.decoding import UNDECODABLE

_AT = re.compile(r"(?P<what>.*?)(?: - at `\$?\.?(?P<at>.*?)`)?\Z", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(?P<type>.*?)`(?P<rest>.*)", re.DOTALL)


def parameters(pairs: Iterable[tuple[str, str]], type: type[msgspec.Struct], what: str) -> Any:
    """Return the values of a query or a path as a struct; what it does not have is refused."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(type)}
    given: dict[str, Any] = {}
    for name, text in pairs:
        field = fields.get(name)
        if field is None:
            hint = did_you_mean(name, fields)
            raise Problem(
                400, f"there is no {what} {name!r}", field=name, kind="unknown-parameter",
                expected=f"one of {', '.join(fields)}" if fields else "none",
                remedy=hint or "see GET /api/v1/openapi.json",
            )  # fmt: skip
        if _is_list(field.type):
            given.setdefault(name, []).append(text)
        elif name in given:
            raise Problem(400, f"{name} is given twice", field=name, expected="one value")
        else:
            given[name] = text
    return converted(given, type)


def headers(given: Mapping[str, str], type: type[msgspec.Struct]) -> Any:
    """Return those headers that a route has a use for."""
    names = [field.encode_name for field in msgspec.structs.fields(type)]
    return converted({name: given[name] for name in names if name in given}, type)


def converted(given: dict[str, Any], type: type[msgspec.Struct]) -> Any:
    """Return text as values."""
    try:
        return msgspec.convert(given, type, strict=False)
    except msgspec.ValidationError as error:
        raise mistake(error) from error


def json_body(octets: bytes, type: Any) -> Any:
    """Return a body of JSON."""
    try:
        return msgspec.json.decode(octets, type=type)
    except msgspec.ValidationError as error:
        raise mistake(error) from error
    except UNDECODABLE as error:
        raise Problem(
            400, f"the body is no JSON: {error}", field="body", kind="no-json",
            expected="one JSON object in UTF-8", remedy="see GET /api/v1/openapi.json",
        ) from error  # fmt: skip


def mistake(error: msgspec.ValidationError) -> Problem:
    """Return what a value is wrong about."""
    match = _AT.match(str(error))
    assert match is not None
    what, at = match["what"], match["at"] or ""
    missing = re.search(r"missing required field `(.*?)`", what)
    unknown = re.search(r"contains unknown field `(.*?)`", what)
    if named := missing or unknown:
        at = f"{at}.{named[1]}" if at and at != "." else named[1]
    expected = _EXPECTED.match(what)
    return Problem(
        422, what[:1].lower() + what[1:], field=at, kind="invalid-value",
        expected=expected["type"] if expected else "", remedy="see GET /api/v1/openapi.json",
    )  # fmt: skip


def _is_list(type: Any) -> bool:
    origin = getattr(type, "__origin__", type)
    return origin in (list, tuple)
