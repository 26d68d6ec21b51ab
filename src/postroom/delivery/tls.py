"""TLS contexts of the delivering side, one for each policy.

Owns a cache: reading the system's certificates takes longer than a delivery. A context
holds no secret of ours, since we show no client certificate.
Called by: delivery.opener.  Raises: OSError where `ca_file` cannot be read.
RFC 3207, RFC 8314 §3 (implicit TLS), RFC 7435 (opportunistic security), RFC 8996.
"""

from __future__ import annotations

import ssl

from postroom.routing.policy import TlsPolicy

_CHECKED_MODES = frozenset(("verify", "implicit"))


class TlsContexts:
    """Gives the context for a policy; at most one is made for each."""

    __slots__ = ("_contexts",)

    def __init__(self) -> None:
        self._contexts: dict[TlsPolicy, ssl.SSLContext] = {}

    def context(self, policy: TlsPolicy) -> ssl.SSLContext:
        """Return the context; with "verify" and "implicit" it checks chain and name."""
        context = self._contexts.get(policy)
        if context is None:
            context = self._contexts[policy] = _make(policy)
        return context


def _make(policy: TlsPolicy) -> ssl.SSLContext:
    if policy.mode in _CHECKED_MODES:
        checking = ssl.create_default_context(cafile=policy.ca_file or None)
        checking.minimum_version = ssl.TLSVersion.TLSv1_2
        return checking
    # RFC 7435 §3: without a way to know the right name, encryption against listeners is
    # still better than none; a certificate that does not fit must not send mail in clear.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # RFC 8996 §2: nothing below TLS 1.2, whatever the libraries of this machine would allow.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
