"""The OpenAPI document of the API, made from the table of routes.

Pure.  Called by: api.routes (GET /openapi.json), tools.make_openapi, tests.  Raises: nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from postroom import __version__
from postroom.api.problem import MEDIA_TYPE, ProblemBody
from postroom.api.route import JSON, Nothing, Route

REFERENCE = "#/components/schemas/{name}"
_ALWAYS = {
    400: "the request is not understood",
    401: "no valid token",
    403: "the token's role may not",
    404: "it is not there",
    409: "not as things are now",
    413: "the body is too large",
    415: "the body is of another type",
    421: "another host was asked for",
    422: "a value is not as expected",
    429: "too many wrong tokens",
    500: "a defect of the server",
    503: "not now: the server, or a queue, cannot be reached",
}
_DESCRIPTION = (
    "Send mail, look at the queues and change what they do. Errors are problems (RFC 9457) that "
    "name the field, what was expected and what to do. See docs/how-to/api.md."
)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document."""
    routes = list(routes)
    types = _types(routes)
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    by_type = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.full_path, {})[route.method.lower()] = _operation(
            route, by_type, components
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Postroom", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "postroom_session"},
            },
        },
    }


def _types(routes: list[Route]) -> list[Any]:
    types: dict[str, Any] = {repr(ProblemBody): ProblemBody}
    for route in routes:
        for one in (route.answer, route.body, route.query, route.path_type, route.headers):
            if one is not None:
                types.setdefault(repr(one), one)
    return list(types.values())


def _operation(route: Route, by_type: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _id_of(route),
        "summary": route.help,
        "tags": [route.tag],
        "parameters": [
            *_parameters(route.path_type, "path", by_type, components),
            *_parameters(route.query, "query", by_type, components),
            *_parameters(route.headers, "header", by_type, components),
        ],
        "responses": _responses(route, by_type),
    }
    if route.roles is None:
        operation["security"] = []
    else:
        operation["security"] = [{"token": []}, {"session": []}]
        operation["x-roles"] = sorted(route.roles)
    if route.body is not None:
        content: dict[str, Any] = {JSON: {"schema": by_type[repr(route.body)]}}
        for media_type in route.takes:
            content[media_type] = {"schema": {"type": "string"}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": route.help}
    if route.answers != JSON:
        good["content"] = {route.answers: {"schema": {"type": "string"}}}
    elif route.answer is not None:
        good["content"] = {JSON: {"schema": by_type[repr(route.answer)]}}
    responses = {str(route.status): good}
    statuses = {400, 421, 500, *route.problems}
    if route.roles is not None:
        statuses |= {401, 403, 404, 409, 422, 429, 503}
    if route.body is not None:
        statuses |= {403, 408, 413, 415, 422, 503}
    if route.query is not Nothing or route.path_type is not Nothing:
        statuses |= {404, 422}
    for status in sorted(statuses):
        responses[str(status)] = {
            "description": _ALWAYS.get(status, "the body did not come in time"),
            "content": {MEDIA_TYPE: {"schema": by_type[repr(ProblemBody)]}},
        }
    return responses


def _parameters(
    type: type[msgspec.Struct], place: str, by_type: dict[str, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    if type is Nothing:
        return []
    schema = by_type[repr(type)]
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    required = set(schema.get("required", ()))
    found = []
    for name, one in schema.get("properties", {}).items():
        parameter = {"name": name, "in": place, "required": name in required, "schema": one}
        if one.get("type") == "array":
            parameter |= {"style": "form", "explode": True}
        found.append(parameter)
    if found:
        found[0]["description"] = " ".join((type.__doc__ or "").split())
    return found


def _id_of(route: Route) -> str:
    words = re.findall(r"[a-z0-9]+", route.path.replace("{", "by_"))
    return "_".join((route.method.lower(), *words))
