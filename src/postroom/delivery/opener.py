"""New connections: from a hop to sessions that are ready for mail.

Owns what a route means for a session: TLS, AUTH, LMTP, the loop test. Every address of the
hop is a place to try; opportunistic TLS that fails is tried again in clear.
An attempt that has an allowance connects from its source, and only where it may.

Called by: delivery.smtp_agent.  Raises: nothing that the world does; see `Opened`.
RFC 5321 §5.1, RFC 3207, RFC 4954, RFC 2033.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import itertools
import ssl
from pathlib import Path

from postroom.core.clock import Clock
from postroom.core.errors import ReplyError
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.connection import Connection
from postroom.delivery.connector import UNIX_PREFIX, Connector, SourceUnusable
from postroom.delivery.deadlines import ClientDeadlines
from postroom.delivery.tls import TlsContexts
from postroom.delivery.trouble import may_fall_back_to_clear
from postroom.routing.destination import NextHop
from postroom.routing.policy import LmtpRoute, MxRoute, RelayRoute, RoutePolicy, TlsPolicy
from postroom.routing.resolver import Resolver
from postroom.shaping.allowance import Allowance
from postroom.smtp.client import ClientSession
from postroom.smtp.client_options import ClientOptions, Credentials
from postroom.smtp.client_states import Cause, Failure, Stage, cause_of

PASSWORD_OCTETS_MAX = 4096
"""A password file holds one line; more than this is the wrong file."""

_NO_TLS = TlsPolicy(mode="none")

_OUR_ERRNOS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL)
)
"""Errors of a connect that say something about this machine and not about the host."""


class Opener:
    """Opens connections for one agent."""

    __slots__ = (
        "_clock", "_connector", "_contexts", "_deadlines", "_hostname", "_resolver", "_turns",
    )  # fmt: skip

    def __init__(
        self,
        resolver: Resolver,
        connector: Connector,
        contexts: TlsContexts,
        deadlines: ClientDeadlines,
        hostname: str,
        clock: Clock,
    ) -> None:
        self._resolver = resolver
        self._connector = connector
        self._contexts = contexts
        self._deadlines = deadlines
        self._hostname = hostname
        self._clock = clock
        self._turns = itertools.count()
        """Several addresses of a source are used in turn."""

    async def addresses(self, hop: NextHop, deadline: float) -> tuple[str, ...] | Failure:
        """Return the addresses of a hop in the order to try, or why there are none."""
        if hop.host.startswith(UNIX_PREFIX):
            return (hop.host,)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._resolver.addresses(hop.host)
        except ReplyError as error:
            return Failure(Stage.RESOLVE, cause_of(error.reply), error.reply)
        except TimeoutError:
            return _failure(Stage.RESOLVE, Cause.TIMEOUT, "4.4.3", f"no address of {hop.host} yet")

    async def open(
        self,
        hop: NextHop,
        address: str,
        route: RoutePolicy,
        deadline: float,
        allowance: Allowance | None = None,
    ) -> Connection | Failure:
        """Return a connection that is ready for mail, or why there is none.

        Where the allowance stops it that is no failure of the host: see `is_stopped`.
        """
        tls = _NO_TLS if isinstance(route, LmtpRoute) else getattr(route, "tls", _NO_TLS)
        opened = await self._open(hop, address, route, tls, deadline, allowance)
        if (
            isinstance(opened, Failure)
            and tls.mode == "opportunistic"
            and may_fall_back_to_clear(opened)
        ):
            # RFC 7435 §3: encryption is wanted, mail is wanted more.
            opened = await self._open(
                hop, address, route, _NO_TLS, deadline, allowance, is_second=True
            )
        return opened

    async def _open(
        self,
        hop: NextHop,
        address: str,
        route: RoutePolicy,
        tls: TlsPolicy,
        deadline: float,
        allowance: Allowance | None,
        *,
        is_second: bool = False,
    ) -> Connection | Failure:
        label = label_of(hop, address)
        helo = self._hostname
        if allowance is not None:
            helo = allowance.helo or helo
            if not allowance.connect(self._clock.now(), is_second=is_second):
                text = "no more connections may be opened now"
                return _failure(Stage.CONNECT, Cause.LOCAL, "4.4.5", text)
        try:
            options = await self._options(route, tls, label, address, helo)
            context = None if tls.mode == "none" else self._contexts.context(tls)
        except (OSError, ValueError, ssl.SSLError) as error:
            return _failure(Stage.CONNECT, Cause.LOCAL, "4.3.5", f"route {route.name}: {error}")
        connection = Connection(ClientSession(options), self._deadlines, label)
        connection.expects_tls = tls.mode == "implicit"
        limit = asyncio.get_running_loop().time() + self._deadlines.connect_s
        try:
            try:
                async with asyncio.timeout_at(min(limit, deadline)):
                    await self._connect(connection, hop, address, allowance)
            except SourceUnusable as error:
                assert allowance is not None
                allowance.error = error.strerror or str(error)
                return _failure(Stage.CONNECT, Cause.LOCAL, "4.4.1", allowance.error)
            except TimeoutError:
                text = f"connection to {label} timed out"
                return _failure(Stage.CONNECT, Cause.TIMEOUT, "4.4.1", text)
            except OSError as error:
                cause = Cause.LOCAL if error.errno in _OUR_ERRNOS else Cause.LOST
                text = f"cannot connect to {label}: {error.strerror or error}"
                return _failure(Stage.CONNECT, cause, "4.4.1", text)
            await connection.open(self._connector, context, hop.host, deadline)
        except BaseException:
            connection.abort()
            raise
        if connection.session.failure is None and allowance is not None:
            allowance.connected()
        return connection.session.failure or connection

    async def _connect(
        self, connection: Connection, hop: NextHop, address: str, allowance: Allowance | None
    ) -> None:
        if allowance is None or allowance.source is None or address.startswith(UNIX_PREFIX):
            await self._connector.connect(address, hop.port, lambda: connection)
            return
        ours = allowance.source.addresses_for(address)
        source = ours[next(self._turns) % len(ours)]
        try:
            await self._connector.connect(address, hop.port, lambda: connection, source)
        except SourceUnusable as error:
            raise SourceUnusable(error.errno, f"{source}: {error.strerror}") from error

    async def _options(
        self, route: RoutePolicy, tls: TlsPolicy, label: str, address: str, helo: str
    ) -> ClientOptions:
        credentials = None
        clear_auth = False
        if isinstance(route, RelayRoute) and route.user:
            password = await asyncio.to_thread(_read_password, route.password_file)
            credentials = Credentials(route.user, password)
            clear_auth = _is_loopback(address)
        return ClientOptions(
            hostname=helo,
            peer=label,
            lmtp=isinstance(route, LmtpRoute),
            secured=tls.mode == "implicit",
            starttls=tls.mode in ("opportunistic", "require", "verify"),
            starttls_required=tls.mode in ("require", "verify"),
            credentials=credentials,
            clear_auth=clear_auth,
            # A relay or LMTP server of our own may well have our name.
            detect_loop=isinstance(route, MxRoute),
        )


def label_of(hop: NextHop, address: str) -> str:
    """Return how a host is named in replies and reports: "name[address]:port"."""
    if address.startswith(UNIX_PREFIX):
        return address
    if address == hop.host:
        return f"[{address}]:{hop.port}"
    return f"{hop.host}[{address}]:{hop.port}"


def _failure(stage: Stage, cause: Cause, enhanced: str, text: str) -> Failure:
    return Failure(stage, cause, Reply(451, EnhancedStatusCode(enhanced), text))


def _is_loopback(address: str) -> bool:
    if address.startswith(UNIX_PREFIX):
        return True
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _read_password(path: str) -> str:
    with Path(path).open("rb") as file:
        octets = file.read(PASSWORD_OCTETS_MAX + 1)
    if len(octets) > PASSWORD_OCTETS_MAX:
        raise ValueError(f"{path} is not a password file")
    return octets.decode("utf-8").split("\n", 1)[0].rstrip("\r")
