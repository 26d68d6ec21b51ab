"""The whole configuration as one frozen value, which travels to workers as msgpack.

Called by: supervisor, control, cli.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.config.console import ConsolePolicy
from postroom.config.replies import RepliesPolicy
from postroom.config.server import ServerPolicy
from postroom.config.webhook import WebhookPolicy
from postroom.core.limits import LimitsPolicy
from postroom.engine.policy import EnginePolicy
from postroom.engine.tag import DEFAULT_FIELD
from postroom.groups.classes import ClassPolicy
from postroom.groups.policy import GroupPolicy
from postroom.groups.scaling import ScalingPolicy
from postroom.groups.tenants import TenantPolicy
from postroom.hooks.runner import PolicySettings
from postroom.ingress.policy import ListenPolicy
from postroom.observe.stream.policy import EventsPolicy
from postroom.routing.policy import MxRoute, ResolverPolicy, RoutePolicy
from postroom.shaping.replies import ReplyRule
from postroom.shaping.source import SourcePolicy, WarmupPolicy
from postroom.spool.policy import SpoolPolicy


class LogPolicy(msgspec.Struct, frozen=True):
    """The `[log]` table: `path` of the event log ("-": standard error, "none": no log), format.

    `format` is "json" or "text".
    """

    path: str = "-"
    format: str = "text"


class Config(msgspec.Struct, frozen=True):
    """One generation of the configuration.

    `channels`, `groups` and `classes` are in order of the file, the default one last and
    always there; `tenants` in order of the file; `routes` always holds "default". `tag_header`
    is the field that rules about tags look at. `reply_rules` are what `replies` names, read.
    """

    hostname: str
    spool: SpoolPolicy
    server: ServerPolicy = ServerPolicy()
    listen: tuple[ListenPolicy, ...] = (ListenPolicy(),)
    routes: dict[str, RoutePolicy] = msgspec.field(default_factory=lambda: {"default": MxRoute()})
    channels: tuple[ChannelPolicy, ...] = (ChannelPolicy(name="default"),)
    sources: tuple[SourcePolicy, ...] = ()
    warmups: tuple[WarmupPolicy, ...] = ()
    groups: tuple[GroupPolicy, ...] = (GroupPolicy(),)
    classes: tuple[ClassPolicy, ...] = (ClassPolicy(),)
    tenants: tuple[TenantPolicy, ...] = ()
    tag_header: str = DEFAULT_FIELD
    limits: LimitsPolicy = LimitsPolicy()
    scaling: ScalingPolicy = ScalingPolicy()
    policy: PolicySettings = PolicySettings()
    replies: RepliesPolicy = RepliesPolicy()
    reply_rules: tuple[ReplyRule, ...] = ()
    resolver: ResolverPolicy = ResolverPolicy()
    delivery: EnginePolicy = EnginePolicy()
    log: LogPolicy = LogPolicy()
    console: ConsolePolicy = ConsolePolicy()
    events: EventsPolicy = EventsPolicy()
    webhooks: tuple[WebhookPolicy, ...] = ()
    generation: int = 1
    source: str = ""
