"""From an HTTP request to a handler of the API, and back.

What a request passes, in this order:
  1. the host it asks for, and for changes where it comes from (console.guard)
  2. who it is: a Bearer token, or the cookie of a session (then changes need its header)
  3. what the role may do, by the table of routes
  4. its values, by their types
  5. the handler; what that raises becomes a problem
Guarantees: 1. a handler runs only for a role of its route.  2. bodies in memory are bounded:
BODIES_OCTETS_MAX in all, and whoever has no token keeps nobody's from being taken.  3. a stream
ends with the token, or the session, that began it.  4. what goes wrong within us is an event,
and tells the client no more than that.
Called by: console.server.  Raises: nothing; it answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable

import msgspec
from aiohttp import web

from postroom.api.context import Context
from postroom.api.problem import MEDIA_TYPE, RETRY_AFTER_S, Problem, of_control
from postroom.api.route import JSON, Answer, Call, Octets, Route
from postroom.api.sessions import COOKIE, LIFE_S, Session, is_csrf
from postroom.config.console import ConsolePolicy
from postroom.console import decode
from postroom.console.body import read, too_large
from postroom.console.guard import HEADERS, SAFE, HostGuard, WrongTokens
from postroom.control.protocol import ControlError
from postroom.control.tokens import Role, Token, TokenError
from postroom.observe.events import Defect

BODY_DEADLINE_S = 120.0
"""In which a body must have come."""
BODIES_OCTETS_MAX = 256 << 20
REQUESTS_MAX = 256
"""Requests that are worked on at a time, streams included; a worker answers 12 of them."""
ORDER_OCTETS_MAX = 1 << 20
"""A body that is no mail: a verb and what it is about."""
STRANGER_OCTETS_MAX = 16 << 10
"""A body of whoever has no token yet."""
STRANGER_DEADLINE_S, STRANGERS_MAX = 10.0, 32
"""In which it must have come, and how many such at a time: they may not fill REQUESTS_MAX."""
VALID_S = 1.0
"""How often it is looked whether the token of a stream is still valid."""
REALM = 'Bearer realm="postroom"'
CSRF_HEADER = "X-CSRF-Token"

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dispatch:
    """The routes of one console."""

    def __init__(self, context: Context, policy: ConsolePolicy) -> None:
        self._context = context
        self._policy = policy
        self._hosts = HostGuard(policy)
        self._wrong = WrongTokens()
        self._bodies_octets = self._strangers = 0
        self._requests = 0
        self._secure = bool(policy.tls_certificate) or policy.behind_proxy
        self.stopping = asyncio.Event()
        """Set when streams are to end."""

    def application(self, routes: Iterable[Route]) -> web.Application:
        """Return what serves these routes."""

        @web.middleware
        async def guarded(request: web.Request, handler: _Next) -> web.StreamResponse:
            return await self._guarded(request, handler)

        application = web.Application(
            middlewares=[guarded],
            client_max_size=self._policy.size_limit_octets,
        )
        for route in routes:
            application.router.add_route(route.method, route.full_path, self._handler(route))
        return application

    async def _guarded(self, request: web.Request, handler: _Next) -> web.StreamResponse:
        """Answer a request whatever happens; nothing gets past this."""
        response: web.StreamResponse
        self._requests += 1
        try:
            if self._requests > REQUESTS_MAX:
                raise Problem(
                    503, f"{REQUESTS_MAX} requests are being worked on", remedy="try again later",
                    retry_after_s=RETRY_AFTER_S,
                )  # fmt: skip
            self._hosts.check(request.headers.get("Host", ""))
            self._hosts.check_source(request.method, request.headers)
            response = await handler(request)
        except Problem as problem:
            response = _refusal(problem)
        except ControlError as error:
            response = _refusal(of_control(error))
        except web.HTTPException as error:
            response = _of_http(error, request)
        except TokenError as error:
            response = _refusal(Problem(503, str(error), retry_after_s=RETRY_AFTER_S))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            # The boundary of one request: it must not end the others.
            text = f"{request.method} {request.path}: {type(error).__name__}: {error}"
            self._context.events.emit(Defect(where="console", error=text))
            remedy = "the event log has it: postroom's event `defect`"
            response = _refusal(Problem(500, "a defect of the server", remedy=remedy))
        finally:
            self._requests -= 1
        if not response.prepared:
            self._add_headers(request, response)
        return response

    def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)
        response.headers["Server"] = "postroom"
        if "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        if self._secure:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"

    def _handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            token, session = self._who(route, request)
            path = decode.parameters(request.match_info.items(), route.path_type, "path parameter")
            query = decode.parameters(request.query.items(), route.query, "parameter")
            headers = decode.headers(request.headers, route.headers)
            reserved = self._reserve(route, request)
            try:
                body, media_type = await self._body(route, request)
                call = Call(
                    token, path, query, headers, body, media_type, self._client(request), session
                )
                try:
                    value = await route.handler(self._context, call)
                except Problem as problem:
                    if problem.body.kind == "urn:postroom:wrong-token":
                        self._wrong.note(call.client, self._context.clock.now())
                    raise
            finally:
                self._bodies_octets -= reserved
            return await self._respond(route, request, value, call)

        return handle

    # Who it is.

    def _who(self, route: Route, request: web.Request) -> tuple[Token | None, Session | None]:
        if route.roles is None:
            return None, None
        token, session = self._identified(request)
        if token is None:
            raise Problem(
                401, "no valid token", field="Authorization", kind="no-token",
                expected='"Bearer TOKEN", or the cookie of a session',
                remedy="make one: postroom token create NAME --role viewer",
            )  # fmt: skip
        if token.role not in route.roles:
            roles = " or ".join(sorted(route.roles))
            raise Problem(
                403, f"the token {token.name} is one of a {token.role}", kind="wrong-role",
                field="Authorization", expected=f"one of the role {roles}",
                remedy=f"make one: postroom token create NAME --role {min(route.roles)}",
            )  # fmt: skip
        return token, session

    def _identified(self, request: web.Request) -> tuple[Token | None, Session | None]:
        now = self._context.clock.now()
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme:
            token = self._context.tokens.find(text.strip()) if scheme.lower() == "bearer" else None
            if token is None:
                self._wrong.note(self._client(request), now)
            return token, None
        session = self._context.sessions.find(request.cookies.get(COOKIE, ""), now)
        if session is None:
            return None, None
        if request.method not in SAFE and not is_csrf(
            session, request.headers.get(CSRF_HEADER, "")
        ):
            raise Problem(
                403, "a session must send its CSRF token with a change", field=CSRF_HEADER,
                kind="no-csrf-token", expected="the csrf of GET /api/v1/session",
                remedy="reload the page",
            )  # fmt: skip
        return self._context.tokens.by_id(session.token_id), session

    def _is_still(self, call: Call) -> bool:
        """Say whether whoever began a stream may still have it."""
        tokens, sessions = self._context.tokens, self._context.sessions
        if call.token is not None and tokens.by_id(call.token.id) is None:
            return False
        return call.session is None or sessions.has(call.session)

    def _client(self, request: web.Request) -> str:
        if self._policy.behind_proxy:
            # The last one is what the proxy saw itself; what stands before it anybody may write.
            told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
            if told:
                return told
        return request.remote or ""

    # What it brings.

    def _reserve(self, route: Route, request: web.Request) -> int:
        """Count a body before it is read; return how many octets were counted."""
        if route.body is None:
            return 0
        limit = self._limit(route)
        size = request.content_length
        if size is not None and size > limit:
            raise too_large(limit)
        size = limit if size is None else size
        if self._bodies_octets and self._bodies_octets + size > BODIES_OCTETS_MAX:
            raise Problem(
                503, "too many large requests at a time", retry_after_s=RETRY_AFTER_S,
                remedy="try again later",
            )  # fmt: skip
        self._bodies_octets += size
        return size

    def _limit(self, route: Route) -> int:
        """Return how many octets the body of a request may have."""
        if route.roles is None:
            return STRANGER_OCTETS_MAX
        if Role.INJECTOR in route.roles:
            return self._policy.size_limit_octets
        return min(self._policy.size_limit_octets, ORDER_OCTETS_MAX)

    async def _body(self, route: Route, request: web.Request) -> tuple[object, str]:
        if route.body is None:
            return None, ""
        media_type = request.content_type if "Content-Type" in request.headers else ""
        accepted = (JSON, *route.takes)
        if media_type not in accepted:
            raise Problem(
                415, f"a body of type {media_type or 'nothing'!r} is not taken",
                field="Content-Type", expected=" or ".join(accepted),
            )  # fmt: skip
        encoding = request.headers.get("Content-Encoding", "identity")
        if encoding.strip().lower() != "identity":
            # RFC 9110 §8.4: what is small on the way might be of any size in memory.
            raise Problem(
                415, f"a body with the encoding {encoding!r} is not taken",
                field="Content-Encoding", expected="none", remedy="send it as it is",
            )  # fmt: skip
        if route.roles is not None:
            octets = await read(request, self._limit(route), BODY_DEADLINE_S)
        else:
            if self._strangers >= STRANGERS_MAX:
                raise Problem(503, "too many begin a session", retry_after_s=RETRY_AFTER_S)
            self._strangers += 1
            try:
                octets = await read(request, STRANGER_OCTETS_MAX, STRANGER_DEADLINE_S)
            finally:
                self._strangers -= 1
        if media_type == JSON:
            return decode.json_body(octets, route.body), media_type
        return octets, media_type

    # What it gets.

    async def _respond(
        self, route: Route, request: web.Request, value: object, call: Call
    ) -> web.StreamResponse:
        status, cookies, headers = route.status, dict[str, str](), dict[str, str]()
        if isinstance(value, Answer):
            status, cookies = value.status or status, value.cookies
            headers, value = value.headers, value.value
        if isinstance(value, Octets):
            return await self._stream(request, value, headers, call)
        if status == 204:
            response = web.Response(status=status, headers=headers)
        else:
            response = web.Response(
                body=msgspec.json.encode(value), status=status, headers=headers, content_type=JSON
            )
        for name, text in cookies.items():
            if text:
                response.set_cookie(
                    name, text, httponly=True, samesite="Strict", secure=self._secure, path="/",
                    max_age=int(LIFE_S),
                )  # fmt: skip
            else:
                response.del_cookie(name, path="/")
        return response

    async def _stream(
        self, request: web.Request, octets: Octets, headers: dict[str, str], call: Call
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        response.headers["Content-Type"] = octets.media_type
        if octets.name:
            response.headers["Content-Disposition"] = f'attachment; filename="{octets.name}"'
        self._add_headers(request, response)
        pieces = _until(self.stopping, octets.pieces)
        try:
            # The first piece before the head: what fails at once is still a problem.
            first = await anext(pieces, b"")
            await response.prepare(request)
            await response.write(first)
            loop = asyncio.get_running_loop()
            looked_at = loop.time()
            async for piece in pieces:
                if loop.time() - looked_at >= VALID_S:
                    looked_at = loop.time()
                    if not self._is_still(call):
                        break
                # Waits for the client: who does not read gets nothing more made for it.
                await response.write(piece)
            await response.write_eof()
        except (ControlError, Problem):
            if not response.prepared:
                raise
            # Half of it has gone: only a connection that breaks tells that it is not whole.
            if request.transport is not None:
                request.transport.abort()
        finally:
            await pieces.aclose()
        return response


async def _until(
    stopping: asyncio.Event, pieces: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """Give pieces until there are no more, or we stop."""
    stop = asyncio.ensure_future(stopping.wait())
    try:
        while not stopping.is_set():
            following = asyncio.ensure_future(_next(pieces))
            try:
                await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not following.done():
                    following.cancel()
                    await asyncio.wait({following})
            if following.cancelled():
                return
            piece = following.result()
            if piece is None:
                return
            yield piece
    finally:
        stop.cancel()
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


def _refusal(problem: Problem) -> web.Response:
    response = web.Response(body=problem.encode(), status=problem.status, content_type=MEDIA_TYPE)
    if problem.retry_after_s:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status == 401:
        # RFC 9110 §11.6.1: a 401 names a scheme.
        response.headers["WWW-Authenticate"] = REALM
    return response


def _of_http(error: web.HTTPException, request: web.Request) -> web.Response:
    """Return what the HTTP library refuses in the form of all our problems."""
    if error.status == 404:
        remedy = "the routes are in GET /api/v1/openapi.json"
        return _refusal(Problem(404, f"there is nothing at {request.path}", remedy=remedy))
    if error.status == 405:
        allow = error.headers.get("Allow", "")
        problem = Problem(
            405, f"{request.path} has no {request.method}", field="method", expected=allow
        )
        response = _refusal(problem)
        response.headers["Allow"] = allow
        return response
    return _refusal(Problem(error.status, error.reason))
