"""Layer 9: hand over mail to a running Postroom, from Python.

    from postroom import Client

    queue_id = Client().send(message, sender="list@example.org", recipients=["a@example.net"])

`send` (and `await asend`) return once the message is durable.
"""

from postroom.client.client import Client
from postroom.client.errors import NotAccepted, Unavailable

__all__ = ["Client", "NotAccepted", "Unavailable"]
