"""The commands that ask the engine of one queue: route, load, why, mail bounce, site list.

Called by: supervisor.mail_service.  Raises: StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

from postroom.control.answers import Changed, QueueLoad
from postroom.control.commands import MailVerbArgs, NoArgs, RouteArgs, SiteArgs, WhyArgs
from postroom.control.mail_commands import done
from postroom.control.server import Handler
from postroom.core.clock import Clock
from postroom.delivery.agent import RoutedAgent
from postroom.engine.engine import Engine
from postroom.engine.seeking import Walk
from postroom.engine.sites import SiteHost, site_hosts
from postroom.engine.steering import Steering
from postroom.engine.why import Why
from postroom.queueing.lane import LaneKey
from postroom.routing.router import Explanation, Router

CHANNELS_SHOWN_MAX = 1000
"""The busiest channels make the load; the rest only makes a long answer."""


def engine_handlers(
    queue: int,
    engine: Engine,
    router: Router,
    steering: Steering,
    agent: RoutedAgent,
    clock: Clock,
) -> dict[str, Handler]:
    """Return the handlers, by name of the command."""

    async def route(args: RouteArgs) -> Explanation:
        kind, _ = engine.kinds.asked(args.sender, args.listener, args.user, args.tenant, args.tag)
        return await router.explain(args.address, kind)

    async def bounce(args: MailVerbArgs) -> Changed:
        def bounced(walk: Walk) -> Awaitable[int]:
            return steering.bounce(walk, engine.bouncer, args.reason)

        return await done(steering, args, bounced)

    async def load(_args: NoArgs) -> QueueLoad:
        channels = sorted(engine.loads(), key=lambda one: -one.load)
        limit = engine.scheduler.concurrency
        return QueueLoad(queue, limit, tuple(channels[:CHANNELS_SHOWN_MAX]))

    async def why(args: WhyArgs) -> Why:
        explainer = engine.explainer
        message = await explainer.message(args.id) if args.id is not None else None
        lanes = await explainer.lanes(args.what) if args.what else ()
        lessons = await explainer.lessons(args.what, message, lanes)
        return Why(queue, engine.stats().suspended, message, lanes, lessons)

    async def sites(_args: NoArgs) -> AsyncIterator[SiteHost]:
        for one in site_hosts(
            list(engine.scheduler.lanes()), engine.destinations, agent.health.hosts, agent,
            clock.now(),
        ):  # fmt: skip
            yield one

    async def purge(args: SiteArgs) -> Changed:
        return Changed(int(engine.wake_site(LaneKey(args.channel, args.site))))

    return {
        "route": route,
        "mail bounce": bounce,
        "load": load,
        "why": why,
        "site list": sites,
        "site purge": purge,
    }
