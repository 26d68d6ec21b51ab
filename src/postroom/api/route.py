"""What a route is, and what a handler gets and gives.

A route has its method, path, the types of path, query, headers, body and answer, who may use
it, and one line of help. Dispatch, validation, the OpenAPI document and docs/api.md derive
from it.

Values only.  Called by: api (all of it), console.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from postroom.control.tokens import Role, Token

if TYPE_CHECKING:
    from postroom.api.context import Context

PREFIX = "/api/v1"
JSON = "application/json"
Item = TypeVar("Item")

LOOK = frozenset({Role.VIEWER, Role.OPERATOR})
CHANGE = frozenset({Role.OPERATOR})
INJECT = frozenset({Role.INJECTOR, Role.OPERATOR})
ANYBODY = frozenset(Role)


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """A part of a listing. `next` is the cursor of the part after it, null at the end.

    `absent` are queues that could not be asked.
    """

    items: list[Item]
    next: str | None = None
    absent: tuple[int, ...] = ()


class Octets(msgspec.Struct, frozen=True):
    """An answer that is no JSON: its media type, its pieces, and a name to save it as."""

    media_type: str
    pieces: AsyncIterator[bytes]
    name: str = ""


class Answer(msgspec.Struct, frozen=True):
    """An answer with headers, or another status than the route's."""

    value: object
    status: int = 0
    headers: dict[str, str] = {}
    cookies: dict[str, str] = {}


class Call(msgspec.Struct, frozen=True):
    """One request, decoded and checked. `body` is bytes where the route takes other than JSON."""

    token: Token | None
    path: Any = Nothing()
    query: Any = Nothing()
    headers: Any = Nothing()
    body: Any = None
    media_type: str = ""
    client: str = ""
    session: Any = None


Handler = Callable[["Context", Call], Awaitable[object]]


class Route(msgspec.Struct, frozen=True):
    """One row of the table. `roles` None: no token is asked for.

    `takes` are media types that a body may have beside JSON: such a body comes as it is.
    `answers` is the media type of the answer where that is no JSON; then the handler gives
    Octets.
    """

    method: str
    path: str
    handler: Handler
    help: str
    roles: frozenset[Role] | None
    answer: Any = None
    path_type: type[msgspec.Struct] = Nothing
    query: type[msgspec.Struct] = Nothing
    headers: type[msgspec.Struct] = Nothing
    body: Any = None
    takes: tuple[str, ...] = ()
    answers: str = JSON
    status: int = 200
    problems: tuple[int, ...] = ()
    tag: str = ""
    is_rooted: bool = False

    @property
    def full_path(self) -> str:
        """The path with its prefix; /healthz and its like have none."""
        return self.path if self.is_rooted else PREFIX + self.path
