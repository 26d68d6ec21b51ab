"""Who comes in: health for anybody, the session of a browser, and who one is.

Called by: api.routes.  Raises: Problem.
"""

from __future__ import annotations

import msgspec

from postroom.api.context import Context
from postroom.api.problem import RETRY_AFTER_S, Problem
from postroom.api.route import Answer, Call
from postroom.api.sessions import COOKIE
from postroom.control.answers import Status
from postroom.control.health import why_not_ready
from postroom.control.protocol import ControlError
from postroom.control.tokens import Role

MAKE_ONE = "make one: postroom token create NAME --role operator"


class Health(msgspec.Struct, frozen=True):
    """`status` is ok, or (ready) why not."""

    status: str


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token of whoever logs in."""

    token: str


class Whoami(msgspec.Struct, frozen=True):
    """Whose token it is, and what it is for. `csrf` is for a session: send it as X-CSRF-Token."""

    name: str
    role: Role
    expires_at: float
    csrf: str = ""


async def health(context: Context, call: Call) -> Health:
    """Say that this process answers."""
    return Health("ok")


async def ready(context: Context, call: Call) -> Health:
    """Say whether the server takes mail: 503 while it starts, stops, or no queue runs."""
    remedy = "see postroom status"
    try:
        status: Status = await context.reach.master("status", None, Status)
    except ControlError as error:
        raise Problem(503, error.error, remedy=remedy, retry_after_s=RETRY_AFTER_S) from error
    if reasons := why_not_ready(status):
        raise Problem(503, "; ".join(reasons), remedy=remedy, retry_after_s=RETRY_AFTER_S)
    return Health("ok")


async def login(context: Context, call: Call) -> Answer:
    """Begin a session with a token: its cookie is for browsers alone."""
    token = context.tokens.find(call.body.token)
    if token is None:
        raise Problem(
            401, "the token is not valid", field="token", kind="wrong-token",
            expected="one that is not revoked and not expired", remedy=MAKE_ONE,
        )  # fmt: skip
    key, session = context.sessions.begin(token.id, context.clock.now())
    who = Whoami(token.name, token.role, token.expires_at, session.csrf)
    return Answer(who, cookies={COOKIE: key})


async def logout(context: Context, call: Call) -> Answer:
    """End the session of the cookie."""
    if call.session is not None:
        context.sessions.end(call.session)
    return Answer(None, cookies={COOKIE: ""})


async def whoami(context: Context, call: Call) -> Whoami:
    """Say whose token this is."""
    assert call.token is not None
    csrf = call.session.csrf if call.session is not None else ""
    return Whoami(call.token.name, call.token.role, call.token.expires_at, csrf)
