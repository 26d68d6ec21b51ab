"""The policies that a worker's listeners have: those of the configuration, filled up.

Pure.  Called by: supervisor.mail_service.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.config.model import Config
from postroom.ingress.policy import ListenPolicy


def listen_policies(config: Config) -> tuple[ListenPolicy, ...]:
    """Return the listeners' policies, each with a host name."""
    return tuple(
        policy if policy.hostname else msgspec.structs.replace(policy, hostname=config.hostname)
        for policy in config.listen
    )


def local_policy(config: Config) -> ListenPolicy:
    """Return the limits for programs of this machine: the widest that any listener has."""
    default = ListenPolicy(name="local", address=())
    return msgspec.structs.replace(
        default,
        size_limit_octets=max(
            (policy.size_limit_octets for policy in config.listen),
            default=default.size_limit_octets,
        ),
        recipients_max=max(
            (policy.recipients_max for policy in config.listen), default=default.recipients_max
        ),
        future_release_s=max(
            (policy.future_release_s for policy in config.listen), default=default.future_release_s
        ),
        deliver_by_min_s=min(
            (one.deliver_by_min_s for one in config.listen if one.deliver_by_min_s), default=0.0
        ),
    )
