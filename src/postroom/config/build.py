"""From what was given to policies.

Reads every given value by its kind, fills what was not given from the defaults, and makes
the one Config. A value that could not be read is noted as a mistake and its default taken,
so that everything after it is looked at as well and all mistakes are told at once.

Called by: config.loader.  Raises: nothing; mistakes are gathered.
"""

from __future__ import annotations

from typing import Any

from postroom.channels.policy import ChannelPolicy
from postroom.config.console import ConsolePolicy
from postroom.config.console_settings import CONSOLE
from postroom.config.delivery_settings import CHANNEL, DELIVERY, LIMITS, RESOLVER, ROUTE, ROUTES
from postroom.config.event_settings import EVENTS, default_directory
from postroom.config.given import Gathered, Name
from postroom.config.group_settings import CLASS, GROUP
from postroom.config.kinds import Misread, did_you_mean
from postroom.config.model import Config, LogPolicy
from postroom.config.replies import RepliesPolicy
from postroom.config.server import ServerPolicy
from postroom.config.server_settings import (
    GENERAL,
    LISTEN,
    LOG,
    POLICY,
    REPLIES,
    SCALING,
    SERVER,
    SPOOL,
)
from postroom.config.setting import Setting, Table
from postroom.config.settings import TABLES
from postroom.config.source_settings import SOURCE
from postroom.config.tenant_settings import TENANT
from postroom.config.warmup_settings import WARMUP
from postroom.config.webhook import OTLP, WebhookPolicy
from postroom.config.webhook_settings import WEBHOOK
from postroom.core.limits import LimitsPolicy
from postroom.engine.policy import EnginePolicy
from postroom.groups.classes import ClassPolicy
from postroom.groups.policy import GroupPolicy
from postroom.groups.scaling import ScalingPolicy
from postroom.groups.tenants import TenantPolicy
from postroom.hooks.runner import PolicySettings
from postroom.ingress.policy import ListenPolicy
from postroom.observe.stream.policy import EventsPolicy
from postroom.routing.policy import ResolverPolicy, RoutePolicy, TlsPolicy
from postroom.shaping.source import SourcePolicy, WarmupPolicy
from postroom.spool.policy import SpoolPolicy

IMPLICIT_TLS_PORT = 465
"""RFC 8314 §3.3: TLS from the first octet."""
_REQUIRED = {"relay": "host", "lmtp": "address", "maildir": "path", "pipe": "command"}


class Builder:
    """Makes one Config; afterwards `sources` says where each value came from."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._values: dict[Name, Any] = {}
        self._warmups: dict[str, WarmupPolicy] = {}
        self.sources: dict[str, str] = {}
        for table in TABLES:
            for instance in gathered.instances(table.name) if table.named else [""]:
                for setting in table.settings:
                    self._read(Name(table.name, instance, setting.name), setting)

    def config(self, hostname: str, base: str, source: str) -> Config:
        """Return the configuration; `hostname` and `base` are their defaults."""
        self._warmups = {name: self._warmup(name) for name in self._gathered.instances("warmup")}
        general = {"hostname": hostname} | self._fields(GENERAL, "")
        spool = SpoolPolicy(**({"base": base} | self._fields(SPOOL, "")))
        events = {"directory": default_directory(spool.base)} | self._fields(EVENTS, "")
        return Config(
            **general,
            server=ServerPolicy(**self._fields(SERVER, "")),
            spool=spool,
            listen=tuple(map(self._listen, self._gathered.instances("listen"))),
            routes={name: self._route(name) for name in self._gathered.instances("route")},
            channels=tuple(map(self._channel, self._in_order("channel"))),
            sources=tuple(map(self._source, self._gathered.instances("source"))),
            warmups=tuple(self._warmups.values()),
            groups=tuple(map(self._group, self._in_order("group"))),
            classes=tuple(map(self._class, self._in_order("class"))),
            tenants=tuple(map(self._tenant, self._gathered.instances("tenant"))),
            policy=PolicySettings(**self._fields(POLICY, "")),
            scaling=ScalingPolicy(**self._fields(SCALING, "")),
            replies=RepliesPolicy(**self._fields(REPLIES, "")),
            limits=LimitsPolicy(**self._fields(LIMITS, "")),
            resolver=ResolverPolicy(**self._fields(RESOLVER, "")),
            delivery=EnginePolicy(**self._fields(DELIVERY, "")),
            console=ConsolePolicy(**self._fields(CONSOLE, "")),
            log=LogPolicy(**self._fields(LOG, "")),
            events=EventsPolicy(**events),
            webhooks=tuple(map(self._webhook, self._gathered.instances("webhook"))),
            source=source,
        )

    def _read(self, name: Name, setting: Setting) -> None:
        given = self._gathered.settings.get(name)
        if given is None:
            return
        try:
            self._values[name] = setting.kind.read(given.value, given.origin.place)
        except Misread as misread:
            for mistake in misread.mistakes:
                self._gathered.mistakes.add(given.where(mistake.at), name, str(mistake))

    def _fields(self, table: Table, instance: str, kind: str = "") -> dict[str, Any]:
        """Return the given fields of one policy, and note the source of all of them."""
        fields: dict[str, Any] = {}
        for setting in table.settings:
            if kind and setting.types and kind not in setting.types:
                continue
            name = Name(table.name, instance, setting.name)
            given = self._gathered.settings.get(name)
            self.sources[str(name)] = given.source if given else "default"
            if name not in self._values or not setting.field:
                continue
            outer, _, inner = setting.field.partition(".")
            if inner:
                fields.setdefault(outer, {})[inner] = self._values[name]
            else:
                fields[outer] = self._values[name]
        return fields

    def _listen(self, instance: str) -> ListenPolicy:
        fields = self._fields(LISTEN, instance)
        if self._is_given(LISTEN, instance, "address"):
            fields.setdefault("address", ())  # It could not be read.
        elif instance != ListenPolicy().name:
            self._missing(LISTEN, instance, "address")
            fields["address"] = ()
        fields.setdefault("tls", "starttls" if fields.get("tls_certificate") else "none")
        return ListenPolicy(name=instance, **fields)

    def _in_order(self, table: str) -> list[str]:
        """Return the names of the tables of one kind, the default one last."""
        instances = self._gathered.instances(table)
        return [name for name in instances if name != "default"] + ["default"]

    def _class(self, instance: str) -> ClassPolicy:
        origin = self._gathered.where(Name("class", instance, "priority"))
        return ClassPolicy(name=instance, origin=origin, **self._fields(CLASS, instance))

    def _tenant(self, instance: str) -> TenantPolicy:
        origin = self._gathered.where(Name("tenant", instance, "users"))
        return TenantPolicy(name=instance, origin=origin, **self._fields(TENANT, instance))

    def _group(self, instance: str) -> GroupPolicy:
        origin = self._gathered.where(Name("group", instance, "queues"))
        return GroupPolicy(name=instance, origin=origin, **self._fields(GROUP, instance))

    def _channel(self, instance: str) -> ChannelPolicy:
        origin = self._gathered.where(Name("channel", instance, "match"))
        return ChannelPolicy(name=instance, origin=origin, **self._fields(CHANNEL, instance))

    def _source(self, instance: str) -> SourcePolicy:
        if not self._is_given(SOURCE, instance, "address"):
            self._missing(SOURCE, instance, "address")
        origin = self._gathered.where(Name("source", instance, "address"))
        fields = {"address": ()} | self._fields(SOURCE, instance)
        warmup = self._warmups.get(fields.get("warmup", ""))
        plan = warmup.plan if warmup is not None else None
        return SourcePolicy(name=instance, origin=origin, plan=plan, **fields)

    def _webhook(self, instance: str) -> WebhookPolicy:
        policy = WebhookPolicy(name=instance, **self._fields(WEBHOOK, instance))
        for setting in ("url",) if policy.format == OTLP else ("url", "secret_file"):
            if not self._is_given(WEBHOOK, instance, setting):
                self._missing(WEBHOOK, instance, setting)
        return policy

    def _warmup(self, instance: str) -> WarmupPolicy:
        for setting in ("days", "start"):
            if not self._is_given(WARMUP, instance, setting):
                self._missing(WARMUP, instance, setting)
        fields: dict[str, Any] = {"days": (1,), "start_day": 0}
        return WarmupPolicy(name=instance, **(fields | self._fields(WARMUP, instance)))

    def _route(self, instance: str) -> RoutePolicy:
        kind = self._route_type(instance)
        fields = self._fields(ROUTE, instance, kind)
        wanted = _REQUIRED.get(kind)
        if kind == "relay":
            fields = self._relay(instance, fields)
        elif wanted and not self._is_given(ROUTE, instance, wanted):
            self._missing(ROUTE, instance, wanted)
        if wanted and (wanted if kind != "relay" else "relays") not in fields:
            # Noted as a mistake above; the default route stands in, so that checks go on.
            kind, fields = "mx", {}
        if "tls" in fields:
            fields["tls"] = TlsPolicy(**fields["tls"])
        route: RoutePolicy = ROUTES[kind](name=instance, **fields)
        return route

    def _route_type(self, instance: str) -> str:
        name = Name("route", instance, "type")
        given = {
            setting.name
            for setting in ROUTE.settings
            if Name("route", instance, setting.name) in self._gathered.settings
        }
        if name not in self._values:
            fitting = [kind for kind in ROUTES if any(kind in _types(word) for word in given)]
            if instance == "default" and "type" not in given and (not fitting or "mx" in fitting):
                return "mx"
            if "type" not in given:
                hint = f'did you mean type = "{fitting[0]}"?' if fitting else ""
                self._missing(ROUTE, instance, "type", hint)
            return fitting[0] if fitting else "mx"
        kind: str = self._values[name]
        for word in sorted(given):
            if _types(word) and kind not in _types(word):
                own = [s.name for s in ROUTE.settings if kind in s.types]
                text = f'a route of type "{kind}" has no such setting; it has '
                text += f"{', '.join(own) or 'none'}; "
                text += did_you_mean(word, own) or f'did you mean type = "{_types(word)[0]}"?'
                setting = Name("route", instance, word)
                self._gathered.mistakes.add(self._gathered.where(setting), setting, text)
        return kind

    def _relay(self, instance: str, fields: dict[str, Any]) -> dict[str, Any]:
        one, pool = (self._is_given(ROUTE, instance, name) for name in ("host", "relays"))
        self.sources.pop(f"route.{instance}.{'host' if pool else 'relays'}", None)
        if one and pool:
            name = Name("route", instance, "relays")
            text = "given beside host; expected one of the two"
            self._gathered.mistakes.add(self._gathered.where(name), name, text)
        elif not one and not pool:
            self._missing(ROUTE, instance, "host")
        tls = fields.get("tls", {})
        if fields.get("user") and "mode" not in tls and "relays" in fields:
            # A password goes only to a host that has proved its name.
            ports = {relay.port for relay in fields["relays"]}
            mode = "implicit" if ports == {IMPLICIT_TLS_PORT} else "verify"
            fields["tls"] = {"mode": mode} | tls
        return fields

    def _is_given(self, table: Table, instance: str, setting: str) -> bool:
        return Name(table.name, instance, setting) in self._gathered.settings

    def _missing(self, table: Table, instance: str, key: str, hint: str = "") -> None:
        setting = table.setting(key)
        assert setting is not None
        name = Name(table.name, instance, key)
        text = f"missing; expected {setting.kind.expected}" + (f"; {hint}" if hint else "")
        self._gathered.mistakes.add(self._gathered.where(name), name, text)


def _types(word: str) -> tuple[str, ...]:
    setting = ROUTE.setting(word)
    return setting.types if setting else ()
