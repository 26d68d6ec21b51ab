"""A ListenPolicy made ready: networks parsed, certificate and users loaded.

One value per listener and generation of the configuration; sessions keep the one they
started with.

Called by: ingress.listener.  Raises: ConfigurationError.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from postroom.core.errors import ConfigurationError
from postroom.ingress.access import Networks, is_loopback, normal_address
from postroom.ingress.policy import ListenPolicy
from postroom.ingress.tls import server_context
from postroom.ingress.users import Users, load_users
from postroom.smtp.content_limits import ContentLimits
from postroom.smtp.server_events import ClientRights, ServerSettings
from postroom.smtp.server_terms import TermsOffered

RIGHTS_MAX = 10_000
"""Clients whose rights are remembered."""


class ListenSettings:
    """What sessions of one listener need of its policy."""

    __slots__ = (
        "_relay_from", "_rights", "_xclient", "policy", "proxy_hosts", "server", "tls_context",
        "users",
    )  # fmt: skip

    def __init__(self, policy: ListenPolicy, *, asks_recipients: bool = False) -> None:
        """`asks_recipients`: a policy file wants to hear of each."""
        self.policy = policy
        self._rights: dict[str, ClientRights] = {}
        """Of clients that came before, by address."""
        self._relay_from = _networks(policy, "relay_from", policy.relay_from)
        self._xclient = _networks(policy, "xclient", policy.xclient)
        self.proxy_hosts = _networks(policy, "proxy_protocol", policy.proxy_protocol)
        self.tls_context: ssl.SSLContext | None = None
        if policy.tls not in ("none", "starttls", "implicit"):
            raise ConfigurationError(f"listen.{policy.name}: tls = none, starttls or implicit")
        if policy.tls != "none":
            self.tls_context = server_context(policy.tls_certificate, policy.tls_key)
        self.users: Users | None = None
        if policy.auth_users:
            self.users = load_users(Path(policy.auth_users))
        self.server = ServerSettings(
            hostname=policy.hostname or socket.gethostname(),
            content=ContentLimits(
                policy.size_limit_octets, policy.hops_max, policy.bare_newline == "normalise"
            ),
            recipients_max=policy.recipients_max,
            messages_max=policy.messages_max,
            errors_max=policy.errors_max,
            offers_starttls=policy.tls == "starttls",
            offers_auth=self.users is not None,
            asks_recipients=asks_recipients,
            terms=terms_of(policy),
        )

    def rights(self, address: str) -> ClientRights:
        """Return what a client at this address may do."""
        known = self._rights.get(address)
        if known is None:
            normal = normal_address(address)
            known = ClientRights(
                normal,
                self._relay_from.contains(normal),
                bool(self._xclient) and self._xclient.contains(normal),
                self.policy.auth_plaintext_loopback and is_loopback(normal),
            )
            if len(self._rights) >= RIGHTS_MAX:
                self._rights.clear()
            self._rights[address] = known
        return known

    def rights_named(self, proxy: ClientRights, address: str | None) -> ClientRights:
        """Return the rights of the client that a trusted proxy names (None: its own)."""
        if address is None:
            return proxy
        # The proxy itself stays connected, so it may name the next client too.
        rights = self.rights(address)
        return ClientRights(rights.address, rights.may_relay, True, False)


def terms_of(policy: ListenPolicy) -> TermsOffered:
    """Return what a client may ask for beside delivery."""
    return TermsOffered(policy.future_release_s, policy.mt_priority_max, policy.deliver_by_min_s)


def _networks(policy: ListenPolicy, setting: str, texts: tuple[str, ...]) -> Networks:
    try:
        return Networks(texts)
    except ValueError as error:
        raise ConfigurationError(f"listen.{policy.name}.{setting}: {error}") from None
