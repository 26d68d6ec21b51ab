"""Overviews for tests: as small as they can be, with what a test is about changed."""

from __future__ import annotations

from typing import Any

from postroom.control.answers import ChannelStatus, QueueStatus, Status
from postroom.control.joining import join
from postroom.control.overview import Overview, ServerView
from postroom.engine.views import QueueChannel, QueueOverview, QueueSite
from postroom.queueing.why import LaneWhy

NOW = 1_700_000_000.0


def queue(number: int = 1, **more: Any) -> QueueStatus:
    """Return a queue that is well."""
    facts: dict[str, Any] = {"state": "running", "pid": 100 + number, "room": 1 << 30}
    return QueueStatus(queue=number, **{**facts, **more})


def server(*queues: QueueStatus, **more: Any) -> ServerView:
    """Return what the master says of a server that is well."""
    status = Status(
        version="1", pid=1, started_at=NOW - 3600, hostname="here.example", base="/spool",
        source="", generation=1, delivery=more.pop("delivery", "running"),
        stopping=more.pop("stopping", False), queues=queues or (queue(),),
    )  # fmt: skip
    facts: dict[str, Any] = {
        "at": NOW, "status": status, "load_mark": 0.9, "queues_count": len(status.queues),
        "queues_max": len(status.queues), "is_growing": False,
        "channels": (ChannelStatus("default", "running", concurrency=100, site_concurrency=20),),
    }  # fmt: skip
    return ServerView(**{**facts, **more})


def answer(number: int = 1, **more: Any) -> QueueOverview:
    """Return what a worker says that has nothing to do."""
    facts: dict[str, Any] = {"at": NOW, "pid": 100 + number, "counted_at": NOW}
    return QueueOverview(number, **{**facts, **more})


def site(channel: str = "default", name: str = "mx.example", **more: Any) -> QueueSite:
    """Return a site; arguments of LaneWhy go there, the others to its row."""
    of_lane = {key: more.pop(key) for key in list(more) if key in LaneWhy.__struct_fields__}
    facts: dict[str, Any] = {
        "in_flight": 0, "waiting": 0, "window": 5, "limits": (), "binds": "",
    }  # fmt: skip
    return QueueSite(LaneWhy(channel, name, **{**facts, **of_lane}), **more)


def channel(name: str = "default", **more: Any) -> QueueChannel:
    """Return a channel of one queue."""
    return QueueChannel(name, **more)


def overview(
    view: ServerView | None = None,
    *answers: QueueOverview,
    silent: tuple[int, ...] = (),
    **more: Any,
) -> Overview:
    """Return what the answers come to."""
    view = view or server()
    return join(
        view,
        answers or (answer(),),
        dict.fromkeys(silent, ""),
        **{"order": "trouble", "limit": 50, **more},
    )
