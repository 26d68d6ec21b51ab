"""The name of a site: what limits apply to.

Domains with the same MX hosts share a site, whatever the preferences. The name is made
from the hosts alone, so every queue and machine finds the same one, and it can be read:

    mx.example.org                           one host
    {alt1,alt2,gmail-smtp-in}.l.google.com   hosts below one domain
    mx.example.net+mx.example.org            hosts that have nothing in common

Routes without MX hosts are sites by themselves: "relay:NAME", "route:NAME".
Guarantees: different sets of hosts have different names (long ones by a digest).
Called by: routing.router.  Raises: nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

NAME_MAX = 160
"""Longer names would only fill logs and tables."""
_SMTP_PORT = 25
_COMMON_LABELS_MIN = 2


def mx_site(hosts: Iterable[str], port: int = _SMTP_PORT) -> str:
    """Return the site of a set of MX hosts (lower case), which must not be empty."""
    names = sorted(set(hosts))
    assert names, "a site has hosts"
    name = names[0] if len(names) == 1 else _join(names)
    if len(name) > NAME_MAX:
        digest = hashlib.sha256("+".join(names).encode()).hexdigest()[:12]
        name = f"{names[0]}+{len(names) - 1}#{digest}"
    return name if port == _SMTP_PORT else f"{name}:{port}"


def relay_site(route_name: str) -> str:
    """Return the site of a relay route."""
    return f"relay:{route_name}"


def route_site(route_name: str) -> str:
    """Return the site of a route that ends here: lmtp, maildir, pipe, discard."""
    return f"route:{route_name}"


def _join(names: list[str]) -> str:
    split = [name.split(".") for name in names]
    # Something must be left of every name, else the part in braces would be empty.
    most = min(map(len, split)) - 1
    common = 0
    while common < most and len({tuple(labels[-common - 1 :]) for labels in split}) == 1:
        common += 1
    if common < _COMMON_LABELS_MIN:
        return "+".join(names)
    heads = ",".join(".".join(labels[:-common]) for labels in split)
    return f"{{{heads}}}.{'.'.join(split[0][-common:])}"
