"""The closed list of events: one per state change.

Log line, event stream, metric, dashboard and webhook all derive from these. No content and no
credentials are ever in an event. docs/events.md is generated from this list; the events stand
in modules by what they are about, and are all to be had from here.

Called by: every layer above, through an EventSink.  Raises: nothing.
"""

from __future__ import annotations

from postroom.observe.event import Event, EventList, EventSink
from postroom.observe.message_events import (
    MESSAGE_EVENTS,
    ContentDamaged,
    MessageAccepted,
    MessageArrived,
    MessageDeleted,
    MessageDone,
    MessageHeld,
    MessageHurried,
    MessageMoved,
    MessageReleased,
    MessageRerouted,
    MessageSplit,
    MessageSuspected,
    RecipientDeferred,
    RecipientDelivered,
    RecipientFailed,
    ReportDropped,
    ReportQueued,
)
from postroom.observe.queue_events import (
    QUEUE_EVENTS,
    LayoutChanged,
    LeaseAwaited,
    LoadPretended,
    QueueClosed,
    QueueOpened,
    QueuesScaled,
    QueueStateSet,
    ScalingFailed,
    StoreFailed,
    StoreRecovered,
)
from postroom.observe.reply_events import (
    REPLY_EVENTS,
    ReplyRuleApplied,
    ReplyRuleLifted,
)
from postroom.observe.server_events import (
    SERVER_EVENTS,
    ConfigurationLoaded,
    ConfigurationRefused,
    Defect,
    EventsDropped,
    EventsMissed,
    PolicyFailed,
    ServerStarted,
    ServerStopping,
    SessionRefused,
    SettingIgnored,
    StreamFailed,
    WebhookFailing,
    WebhookRecovered,
    WorkerExited,
)
from postroom.observe.site_events import (
    SITE_EVENTS,
    ChannelSet,
    DeliveryResumed,
    DeliverySuspended,
    HostDown,
    HostUp,
    RatesNotKept,
    SiteResumed,
    SiteSuspended,
    SiteWindowChanged,
)
from postroom.observe.source_events import (
    SOURCE_EVENTS,
    PausesNotKept,
    SourcePaused,
    SourceResumed,
    SourceUnusable,
)

ALL_EVENTS: tuple[type[Event], ...] = (
    *MESSAGE_EVENTS, *SITE_EVENTS, *SOURCE_EVENTS, *REPLY_EVENTS, *QUEUE_EVENTS, *SERVER_EVENTS,
)  # fmt: skip

__all__ = [
    "ALL_EVENTS",
    "ChannelSet",
    "ConfigurationLoaded",
    "ConfigurationRefused",
    "ContentDamaged",
    "Defect",
    "DeliveryResumed",
    "DeliverySuspended",
    "Event",
    "EventList",
    "EventSink",
    "EventsDropped",
    "EventsMissed",
    "HostDown",
    "HostUp",
    "LayoutChanged",
    "LeaseAwaited",
    "LoadPretended",
    "MessageAccepted",
    "MessageArrived",
    "MessageDeleted",
    "MessageDone",
    "MessageHeld",
    "MessageHurried",
    "MessageMoved",
    "MessageReleased",
    "MessageRerouted",
    "MessageSplit",
    "MessageSuspected",
    "PausesNotKept",
    "PolicyFailed",
    "QueueClosed",
    "QueueOpened",
    "QueueStateSet",
    "QueuesScaled",
    "RatesNotKept",
    "RecipientDeferred",
    "RecipientDelivered",
    "RecipientFailed",
    "ReplyRuleApplied",
    "ReplyRuleLifted",
    "ReportDropped",
    "ReportQueued",
    "ScalingFailed",
    "ServerStarted",
    "ServerStopping",
    "SessionRefused",
    "SettingIgnored",
    "SiteResumed",
    "SiteSuspended",
    "SiteWindowChanged",
    "SourcePaused",
    "SourceResumed",
    "SourceUnusable",
    "StoreFailed",
    "StoreRecovered",
    "StreamFailed",
    "WebhookFailing",
    "WebhookRecovered",
    "WorkerExited",
]
