"""A server is well, or the reasons say why not."""

from __future__ import annotations

import msgspec
import pytest

from postroom.control.answers import QueueStatus
from postroom.control.health import health_of, why_not_ready
from postroom.control.overview import Overview
from postroom.control.troubles import troubles
from postroom.spool.queue_state import QueueState
from tests.unit.control.overviews import overview, queue, server


def judged(found: Overview) -> Overview:
    return msgspec.structs.replace(found, troubles=troubles(found))


def test_a_server_that_is_well_is_ok_and_ready() -> None:
    found = health_of(judged(overview()))
    assert (found.status, found.ready, found.reasons) == ("ok", True, ())
    assert why_not_ready(server().status) == ()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (queue(state="failed", pid=0, detail="no disk"), "queue1: it is failed: no disk"),
        (queue(state="starting"), "queue1: it is starting"),
        (queue(queue_state=QueueState.DRAINING), "queue1: it is draining"),
        (queue(room=0), "queue1: it has no room for new mail"),
        (queue(heartbeat_age_s=60.0), "queue1: its worker does not answer"),
    ],
)
def test_without_a_queue_that_takes_mail_it_is_not_ready(bad: QueueStatus, reason: str) -> None:
    assert why_not_ready(server(bad).status) == (reason,)
    found = health_of(judged(overview(server(bad))))
    assert (found.status, found.ready, found.reasons) == ("failing", False, (reason,))
    # One queue that does is enough to take mail; what is wrong is still said.
    both = server(bad, queue(2))
    assert why_not_ready(both.status) == ()
    found = health_of(judged(overview(both)))
    assert found.ready and found.status == ("ok" if "draining" in reason or "starting" in reason
                                            else "degraded")  # fmt: skip


def test_a_worker_that_did_not_answer_counts_as_none() -> None:
    found = health_of(judged(overview(server(queue(1)), silent=(1,))))
    assert (found.status, found.ready) == ("failing", False)


def test_a_server_that_stops_or_has_delivery_suspended() -> None:
    assert why_not_ready(server(stopping=True).status) == ("the server is stopping",)
    assert health_of(judged(overview(server(stopping=True)))).status == "failing"
    found = health_of(judged(overview(server(delivery="suspended"))))
    assert (found.status, found.ready) == ("degraded", True)
    assert found.reasons[0].startswith("server: delivery is suspended")
