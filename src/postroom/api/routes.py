"""The one table of routes.

Called by: console.dispatch, api.openapi, tools.  Raises: nothing.
"""

from __future__ import annotations

from postroom.api import access, injection
from postroom.api.composer import MessageIn
from postroom.api.injector import Accepted
from postroom.api.route import ANYBODY, INJECT, Route

ACCESS: tuple[Route, ...] = (
    Route("GET", "/healthz", access.health, "say that the console answers", None, access.Health,
          tag="access", is_rooted=True),
    Route("GET", "/readyz", access.ready, "say whether the server takes mail", None, access.Health,
          problems=(503,), tag="access", is_rooted=True),
    Route("POST", "/session", access.login, "begin a browser's session with a token", None,
          access.Whoami, body=access.Login, problems=(401, 429), tag="access"),
    Route("DELETE", "/session", access.logout, "end the session", ANYBODY, status=204,
          tag="access"),
    Route("GET", "/session", access.whoami, "say whose token this is", ANYBODY, access.Whoami,
          tag="access"),
)  # fmt: skip

MAIL_IN: tuple[Route, ...] = (
    Route("POST", "/messages", injection.inject, "send a message", INJECT, Accepted,
          query=injection.RawQuery, headers=injection.Once, body=MessageIn,
          takes=(injection.RAW,), status=202, problems=(409, 413, 503), tag="send"),
    Route("POST", "/messages/batch", injection.inject_batch, "send messages, all or none", INJECT,
          Accepted, headers=injection.Once, body=injection.Batch, status=202,
          problems=(409, 413, 503), tag="send"),
)  # fmt: skip

ROUTES: tuple[Route, ...] = ACCESS + MAIL_IN
