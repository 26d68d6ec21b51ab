"""Events about what replies of providers teach.

A part of the closed list of observe.events.
Called by: supervisor.site_lessons, tools.  Raises: nothing.
"""

from __future__ import annotations

from postroom.observe.event import Event


class ReplyRuleApplied(Event, frozen=True, tag="reply-rule"):
    """A reply rule acts on a site until then, in all queues; `reply` is what was said.

    `action` is suspend, slow, back-off or switch-source. Told when it begins, when it is to last
    clearly longer, and when the limits of a site are halved once more (`halvings`).
    """

    site: str
    rule: str
    action: str
    until: float
    reply: str
    halvings: int = 0


class ReplyRuleLifted(Event, frozen=True, tag="reply-rule-lifted"):
    """An operator lifted what a reply rule did to a site."""

    site: str
    rule: str
    action: str


REPLY_EVENTS: tuple[type[Event], ...] = (ReplyRuleApplied, ReplyRuleLifted)
