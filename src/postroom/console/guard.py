"""Who may come in at all: the Host asked for, where a browser's request comes from, wrong tokens.

Pure decisions on headers.  What it keeps out:
  1. names that are not ours (DNS rebinding): a page of another host cannot speak to us by a
     name that its owner lets lead to this machine
  2. requests that another site has a browser make (CSRF): Sec-Fetch-Site and Origin, and for
     a session's cookie a header that only our pages know
  3. guessing: wrong tokens of one client are counted, and past FAILURES_MAX in WINDOW_S each
     is answered 429. A right token is never locked out: on loopback all clients share one
     address, and 256 bits are not guessed by asking
Called by: console.dispatch.  Raises: Problem.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import urlsplit

from postroom.api.problem import Problem
from postroom.config.console import LOOPBACK_NAMES, ConsolePolicy

FAILURES_MAX = 10
WINDOW_S = 60.0
CLIENTS_MAX = 10_000
SAFE = ("GET", "HEAD", "OPTIONS")

HEADERS: dict[str, str] = {
    # Nothing is loaded from another host, and no script or style stands in a page.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class HostGuard:
    """The names under which this console is asked for."""

    def __init__(self, policy: ConsolePolicy) -> None:
        self._names = {*LOOPBACK_NAMES, *(name.lower() for name in policy.hosts)}
        hosts = [address.rpartition(":")[0].strip("[]") for address in policy.address]
        self._addresses = {_address(host) for host in hosts}
        # Bound to all addresses: any of ours is right, and an address is no name to rebind.
        self._any_address = any(one in ("0.0.0.0", "::") for one in self._addresses)

    def check(self, host: str) -> None:
        """Refuse a request for a name that is not ours."""
        name = _host_of(host)
        address = _address(name)
        loopback = bool(address) and ipaddress.ip_address(address).is_loopback
        if name in self._names or (address and (loopback or self._any_address)):
            return
        if address and address in self._addresses:
            return
        raise Problem(
            421, f"nothing is served here for host {name!r}", field="Host", kind="wrong-host",
            expected="an address that it listens on, localhost, or a name in console.hosts",
            remedy=f"to use this name: [console] hosts = [{name!r}]",
        )  # fmt: skip

    def check_source(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuse what another site has a browser do."""
        if method in SAFE:
            return
        site = headers.get("Sec-Fetch-Site", "")
        if site and site not in ("same-origin", "none"):
            raise _cross_site("Sec-Fetch-Site", site)
        origin = headers.get("Origin", "")
        if origin:
            try:
                netloc = urlsplit(origin).netloc.lower()
            except ValueError:
                netloc = ""
            if netloc != headers.get("Host", "").lower():
                raise _cross_site("Origin", origin)


class WrongTokens:
    """How often clients have come with a wrong token lately."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def note(self, client: str, now: float) -> None:
        """Count one; raises Problem where it is one too many."""
        began_at, count = self._counts.pop(client, (now, 0))
        if now - began_at >= WINDOW_S:
            began_at, count = now, 0
        self._counts[client] = (began_at, count + 1)
        while len(self._counts) > CLIENTS_MAX:
            self._counts.popitem(last=False)
        if count >= FAILURES_MAX:
            left_s = int(began_at + WINDOW_S - now) + 1
            raise Problem(
                429, f"more than {FAILURES_MAX} wrong tokens in a minute",
                field="Authorization", expected="a valid token", retry_after_s=left_s,
                remedy="see which there are: postroom token list",
            )  # fmt: skip


def _cross_site(header: str, value: str) -> Problem:
    return Problem(
        403, f"the request comes from another site ({header}: {value})", field=header,
        kind="cross-site", expected="the same origin",
        remedy="send it from a page of this console, or from a program with a token",
    )  # fmt: skip


def _host_of(host: str) -> str:
    """Return the name in a Host header, without its port, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _address(host: str) -> str:
    """Return an address in its one spelling; "" for a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""
