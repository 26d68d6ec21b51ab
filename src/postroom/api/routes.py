"""The one table of routes.

Dispatch, validation, roles, the OpenAPI document and docs/api.md derive from it. What another
part of the console serves beside it (pages, metrics) is a list of its own in console.server.
Called by: console.server, api.openapi, tools.  Raises: nothing.
"""

from __future__ import annotations

from typing import Any

from postroom.api import (
    access,
    destinations,
    explaining,
    history,
    injection,
    mail,
    operating,
    site_views,
    watching,
)
from postroom.api.composer import MessageIn
from postroom.api.context import Context
from postroom.api.openapi import document
from postroom.api.outgoing import Accepted
from postroom.api.route import ANYBODY, CHANGE, INJECT, LOOK, Call, Page, Route
from postroom.api.ticks import Tick
from postroom.control.answers import (
    Changed,
    ChannelStatus,
    QueueStatus,
    RelayStatus,
    ReloadResult,
    SourceStatus,
    Status,
)
from postroom.control.what_if import CaseView
from postroom.engine.sites import SiteHost
from postroom.engine.why import Why
from postroom.shaping.lessons import Lesson


async def openapi(context: Context, call: Call) -> dict[str, Any]:
    """Give the document that this table makes."""
    return document(ROUTES)


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
    Route("GET", "/openapi.json", openapi, "this API as an OpenAPI document", None,
          dict[str, Any], tag="access"),
)  # fmt: skip

MAIL_IN: tuple[Route, ...] = (
    Route("POST", "/messages", injection.inject, "send a message", INJECT, Accepted,
          query=injection.RawQuery, headers=injection.Once, body=MessageIn,
          takes=(injection.RAW,), status=202, tag="send"),
    Route("POST", "/batch", injection.inject_batch, "send messages, all or none", INJECT,
          Accepted, headers=injection.Once, body=injection.Batch, status=202, tag="send"),
)  # fmt: skip

MESSAGES: tuple[Route, ...] = (
    Route("GET", "/messages", mail.listing, "list messages", LOOK, Page[mail.MessageOut],
          query=mail.ListQuery, tag="messages"),
    Route("GET", "/messages/{id}", mail.show, "one message with all its recipients", LOOK,
          mail.MessageOut, path_type=mail.IdPath, tag="messages"),
    Route("GET", "/messages/{id}/content", mail.content, "its content, octet for octet", CHANGE,
          path_type=mail.IdPath, answers=mail.RAW, tag="messages"),
    Route("GET", "/messages/{id}/transcript", mail.transcript,
          "what was said in attempts that failed", CHANGE, mail.Transcript, path_type=mail.IdPath,
          tag="messages"),
    Route("POST", "/mail/move", mail.move, "move messages to another queue", CHANGE,
          mail.VerbResult, body=mail.MoveBody, tag="messages"),
    Route("POST", "/mail/{verb}", mail.verb,
          "run, hold, release, bounce, quarantine, reroute or delete messages", CHANGE,
          mail.VerbResult, path_type=mail.VerbPath, body=mail.VerbBody, tag="messages"),
)  # fmt: skip

WATCHING: tuple[Route, ...] = (
    Route("GET", "/overview", watching.overview, "the whole server in one answer", LOOK, Tick,
          tag="look"),
    Route("GET", "/overview/sites", site_views.site_views, "the first sites by an order", LOOK,
          site_views.SiteViews, query=site_views.SiteViewQuery, tag="look"),
    Route("GET", "/stream", watching.stream, "an overview every second, as server-sent events",
          LOOK, answers=watching.EVENT_STREAM, tag="look"),
    Route("GET", "/status", watching.status, "state of the server and of each queue", LOOK, Status,
          tag="look"),
    Route("GET", "/counts", watching.counts, "exact counts of messages, recipients and octets",
          LOOK, watching.AllCounts, tag="look"),
    Route("GET", "/events", history.events, "what happened: to a message, at a site, at all",
          LOOK, history.EventPage, query=history.EventQuery, tag="look"),
    Route("GET", "/load", watching.load, "the load of each queue, and what makes it", LOOK,
          watching.Loads, tag="look"),
)  # fmt: skip

EXPLAINING: tuple[Route, ...] = (
    Route("GET", "/why", explaining.why, "why a message waits, or the mail for a site", LOOK,
          Page[Why], query=explaining.WhyQuery, tag="explain"),
    Route("GET", "/route", explaining.route, "where mail to an address goes, and why", LOOK,
          explaining.RouteAnswer, query=explaining.RouteQuery, tag="explain"),
    Route("GET", "/retry-table", explaining.retry_table, "when deferred mail is tried again", LOOK,
          explaining.RetryTable, query=explaining.RetryQuery, tag="explain"),
    Route("GET", "/what-if", explaining.what_would_be,
          "how long a channel takes to drain, now and with other limits", LOOK, Page[CaseView],
          query=explaining.WhatIfQuery, tag="explain"),
)  # fmt: skip

QUEUES: tuple[Route, ...] = (
    Route("GET", "/queues", operating.queues, "the queues with state and counts", LOOK,
          Page[QueueStatus], tag="queues"),
    Route("POST", "/queues", operating.queue_add, "make one more queue", CHANGE, QueueStatus,
          body=operating.NoBody, tag="queues"),
    Route("DELETE", "/queues/{queue}", operating.queue_retire, "close an empty queue for good",
          CHANGE, Changed, path_type=operating.QueuePath, tag="queues"),
    Route("POST", "/queues/{queue}/{verb}", operating.queue_verb,
          "enable, hold, drain a queue, or take it offline", CHANGE, QueueStatus,
          path_type=operating.QueueVerbPath, body=operating.NoBody, tag="queues"),
    Route("POST", "/delivery/suspend", operating.delivery_suspend,
          "make no new attempts; accept mail", CHANGE, Changed, body=operating.NoBody,
          tag="server"),
    Route("POST", "/delivery/resume", operating.delivery_resume, "make attempts again", CHANGE,
          Changed, body=operating.NoBody, tag="server"),
    Route("POST", "/delivery/run", operating.delivery_run,
          "make every deferred recipient due now", CHANGE, Changed, body=operating.NoBody,
          tag="server"),
    Route("POST", "/reload", operating.reload, "read the configuration again, all or nothing",
          CHANGE, ReloadResult, body=operating.NoBody, tag="server"),
)  # fmt: skip

CHANNELS: tuple[Route, ...] = (
    Route("GET", "/channels", operating.channels, "the channels with their mail", LOOK,
          Page[operating.ChannelRow], tag="channels"),
    Route("PATCH", "/channels/{name}", operating.channel_set, "give a channel other limits",
          CHANGE, ChannelStatus, path_type=operating.NamePath, body=operating.ChannelLimits,
          tag="channels"),
    Route("POST", "/channels/{name}/suspend", operating.channel_suspend,
          "make no attempts of a channel", CHANGE, ChannelStatus, path_type=operating.NamePath,
          body=operating.NoBody, tag="channels"),
    Route("POST", "/channels/{name}/resume", operating.channel_resume, "make attempts again",
          CHANGE, ChannelStatus, path_type=operating.NamePath, body=operating.NoBody,
          tag="channels"),
    Route("GET", "/sources", operating.sources, "the sources, and what is paused", LOOK,
          Page[SourceStatus], tag="sources"),
    Route("POST", "/sources/{name}/pause", operating.source_pause, "make no attempts from it",
          CHANGE, SourceStatus, path_type=operating.NamePath, body=operating.SourcePause,
          tag="sources"),
    Route("POST", "/sources/{name}/resume", operating.source_resume, "use a source again", CHANGE,
          SourceStatus, path_type=operating.NamePath, body=operating.SourceSite, tag="sources"),
)  # fmt: skip

DESTINATIONS: tuple[Route, ...] = (
    Route("GET", "/sites", destinations.sites, "the sites, host by host", LOOK, Page[SiteHost],
          query=destinations.SiteQuery, tag="sites"),
    Route("POST", "/sites/purge", destinations.site_purge,
          "have sites that rest, and hosts that are down, tried at once", CHANGE,
          destinations.Purged, body=destinations.SitePurge, tag="sites"),
    Route("GET", "/relays", destinations.relays, "the relays, and hosts that are down", LOOK,
          Page[RelayStatus], tag="sites"),
    Route("POST", "/relays/purge", destinations.relay_purge, "forget that a host is down", CHANGE,
          Changed, body=destinations.HostBody, tag="sites"),
    Route("GET", "/lessons", destinations.lessons, "what replies have said of sites", LOOK,
          Page[Lesson], tag="sites"),
    Route("POST", "/lessons/lift", destinations.lessons_lift, "lift what reply rules do to a site",
          CHANGE, Changed, body=destinations.SiteBody, tag="sites"),
)  # fmt: skip

ROUTES: tuple[Route, ...] = (
    *ACCESS, *MAIL_IN, *MESSAGES, *WATCHING, *EXPLAINING, *QUEUES, *CHANNELS, *DESTINATIONS,
)  # fmt: skip
