"""What a policy file in Python works with: values in, decisions out.

    from postroom.hooks import Client, Defer, Hold, Message, Refuse

    def on_message(message: Message) -> Refuse | Hold | None:
        if message.header("X-Campaign") == "test":
            return Hold("campaigns are tested first")
        return None

docs/how-to/policy.md has the functions that may be there, and what becomes of a failure.
"""

from __future__ import annotations

from postroom.hooks.values import Client, Defer, Hold, Message, Refuse

__all__ = ["Client", "Defer", "Hold", "Message", "Refuse"]
