"""How long the delivering side waits, step by step.

Values only.  Called by: delivery.  Raises: nothing.
RFC 5321 §4.5.3.2 names minutes for each step. They are scaled down where a host that is
that slow is better tried again later, and kept where giving up early makes duplicates.
"""

from __future__ import annotations

import msgspec

from postroom.smtp.client_states import Stage


class ClientDeadlines(msgspec.Struct, frozen=True):
    """Seconds for each step of a session, for the whole attempt, and for idle connections.

    `content_s` is between two blocks of content that the host takes. `final_s` stays at
    what RFC 5321 §4.5.3.2.6 says, since the host may already have taken responsibility.
    """

    connect_s: float = 30.0
    greeting_s: float = 60.0
    hello_s: float = 60.0
    tls_s: float = 60.0
    auth_s: float = 60.0
    envelope_s: float = 120.0
    data_s: float = 120.0
    content_s: float = 180.0
    final_s: float = 600.0
    attempt_s: float = 1800.0
    idle_s: float = 5.0
    close_s: float = 3.0

    def by_stage(self) -> tuple[float, ...]:
        """Return the seconds for each Stage, in order."""
        table = {
            Stage.RESOLVE: self.connect_s,
            Stage.CONNECT: self.connect_s,
            Stage.GREETING: self.greeting_s,
            Stage.HELLO: self.hello_s,
            Stage.TLS: self.tls_s,
            Stage.AUTH: self.auth_s,
            Stage.MAIL: self.envelope_s,
            Stage.RCPT: self.envelope_s,
            Stage.DATA: self.data_s,
            Stage.FINAL: self.final_s,
        }
        return tuple(table[stage] for stage in Stage)
