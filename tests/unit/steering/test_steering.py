"""An operator's verbs over a queue, with and without a running engine."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from postroom.control.commands import MailListArgs, MailShowArgs, MailVerbArgs, NoArgs
from postroom.control.mail_commands import mail_handlers
from postroom.core.clock import ManualClock
from postroom.core.ids import QueueId, encode
from postroom.core.message import Envelope, NewMessage, Recipient, RecipientStatus
from postroom.engine.steering import BATCH_MESSAGES, Steering
from postroom.observe.events import EventList, MessageDeleted, MessageHeld, MessageReleased
from postroom.spool.memory import MemoryStore
from postroom.spool.store import Selection, Settlement


def run[T](main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)
