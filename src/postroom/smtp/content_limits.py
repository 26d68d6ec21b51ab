"""What content a server takes.

Values only.  Called by: smtp.server_data, smtp.server_events, ingress.settings.  Raises: nothing.
RFC 5321 §4.5.3.1, RFC 5321 §6.3.
"""

from __future__ import annotations

import msgspec

# What was refused is read on and dropped, so that its reply comes where the client looks for
# it; a client that does not come to an end is not followed further than this.
_DISCARD_OCTETS_MAX = 64 * 1024 * 1024
_DISCARD_S = 60.0


class ContentLimits(msgspec.Struct, frozen=True):
    """What content may be. `normalise` turns bare CR and LF into CRLF instead of refusing.

    Content that was refused is read on for `discard_octets_max` and `discard_s`.
    """

    size_octets_max: int
    hops_max: int
    normalise: bool = False
    discard_octets_max: int = _DISCARD_OCTETS_MAX
    discard_s: float = _DISCARD_S
