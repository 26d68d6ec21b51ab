"""The table of systems that the bench knows, by name."""

from __future__ import annotations

from bench import others
from bench.systems import Layout, postfix_relay, postroom_relay
from tests.support import postfix

SYSTEMS: dict[str, Layout] = {
    "postfix": postfix_relay,
    "postroom": postroom_relay,
    "exim": others.exim_relay,
    "opensmtpd": others.opensmtpd_relay,
    "haraka": others.haraka_relay,
}


def missing(name: str) -> str:
    """Return why a system cannot run here, and what to do; "" where it can."""
    if name == "postfix":
        return postfix.missing()
    return others.missing(name) if name in SYSTEMS and name != "postroom" else ""
