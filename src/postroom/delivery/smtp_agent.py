"""Delivery by SMTP and LMTP: one attempt over the hops of its destination.

What an attempt involves:
1. The hops are put in order (hop_order).
2. A kept-open connection to the first choice is used where there is one. If its server
   had closed it, that is no failure: a new connection is made.
3. Else each address of each hop is tried, until every recipient has an outcome that no
   other host can better (tally, trouble), or a limit is reached.
4. A connection that is still good goes back to the pool.
An attempt from a source uses connections of that source alone. Where its source cannot be used,
or no connection may be opened yet, it is put back: that is no fault of the host.

Guarantees: 1. the attempt ends within `attempt_s`.  2. an outcome for each recipient.
3. no connection is left behind, also on cancellation.
Called by: delivery.agent.  Raises: nothing that the world does; CancelledError.
RFC 5321 §4.5.4, §5.1.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from postroom.core.message import Envelope, Outcome, OutcomeKind
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.delivery.connection import Connection
from postroom.delivery.connector import Connector
from postroom.delivery.deadlines import ClientDeadlines
from postroom.delivery.health import Health, hops_of, name_of
from postroom.delivery.hop_order import order_hops
from postroom.delivery.opener import Opener, label_of
from postroom.delivery.pool import ConnectionPool
from postroom.delivery.run import Run
from postroom.delivery.tls import TlsContexts
from postroom.delivery.trouble import (
    AT_LIMIT,
    is_about_host,
    is_at_limit,
    is_stale_reuse,
    is_turned_away,
)
from postroom.routing.destination import Destination, NextHop
from postroom.routing.policy import LmtpRoute, RelayRoute, RoutePolicy
from postroom.routing.resolver import Resolver
from postroom.shaping.blocks import is_block
from postroom.shaping.gate import Gate
from postroom.shaping.replies import ReplyRules
from postroom.shaping.tickets import Tickets
from postroom.smtp.client_states import Failure
from postroom.smtp.client_transaction import Transaction

_Key = tuple[str, str, str, NextHop, str]
"""Channel, site, route, hop and source."""


class SmtpAgent:
    """Tries attempts by SMTP or LMTP; owns the pool of kept-open connections."""

    __slots__ = ("_attempt_s", "_entropy", "_opener", "_pool", "_tickets", "health", "rules")

    def __init__(
        self,
        resolver: Resolver,
        entropy: random.Random,
        hostname: str,
        deadlines: ClientDeadlines,
        connector: Connector,
        idle_max: int,
        health: Health,
    ) -> None:
        self.health = health
        self.rules = ReplyRules()
        """What replies are shown to."""
        self._entropy = entropy
        self._tickets: dict[str, Tickets] = {}
        """By the name of a route."""
        self._attempt_s = deadlines.attempt_s
        self._pool = ConnectionPool(deadlines.idle_s, idle_max)
        self._opener = Opener(resolver, connector, TlsContexts(), deadlines, hostname, health.clock)
        health.heard_ago = self._heard_ago

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        """Try once, over all hops."""
        started = asyncio.get_running_loop().time()
        destination = attempt.destination
        allowance = attempt.allowance
        source = "" if allowance is None else allowance.source_name
        wanted = self._hops(destination, source)
        if not len(self.health.hosts):
            return await self._deliver(attempt, wanted, wanted, source, started)
        hops = await self.health.usable(wanted, destination.route)
        if not hops:
            return await self._deliver(attempt, wanted, hops, source, started)
        self.health.enter(hops[0])
        try:
            return await self._deliver(attempt, wanted, hops, source, started)
        finally:
            self.health.leave(hops[0])

    async def _deliver(
        self,
        attempt: Attempt,
        wanted: tuple[NextHop, ...],
        hops: tuple[NextHop, ...],
        source: str,
        started: float,
    ) -> AttemptReport:
        destination, allowance = attempt.destination, attempt.allowance
        run = Run(attempt, started, started + self._attempt_s, self.rules)
        reused = self._take(destination, hops, source)
        if reused is not None:
            if allowance is not None:
                allowance.use_kept()
            key, connection = reused
            if connection.kept_at != attempt.gates:
                # Another tenant kept it: it takes a slot of ours now.
                await self._pool.room(attempt.gates)
            transaction = await self._transact(run, key, connection, attempt.envelope)
            if _is_all_delivered(transaction):
                if self.health.hosts.is_watching:
                    self.health.judge(key[3], None)
                return run.delivered(transaction, connection)
            failure = transaction.failure
            if failure is None or not is_stale_reuse(failure, run.replies):
                self.health.judge(key[3], failure)
                run.note(transaction, connection)
                hops = tuple(hop for hop in hops if hop != key[3])
        elif not hops and wanted:
            probe_at = self.health.probe_at(wanted, destination.route)
            return _untried(attempt, self.health.error_of(wanted), probe_at)
        await self._try_hops(run, hops)
        if allowance is not None and allowance.is_stopped and not run.has_tried:
            return _put_back(attempt)
        return run.report(self.health.probe_at(wanted, destination.route))

    def connections(self) -> dict[tuple[str, str, str], int]:
        """Return how many connections are open, by channel, site and host."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for key, count in self._pool.open_by_key().items():
            assert isinstance(key, tuple)
            channel, site, _, hop, _ = key
            counts[channel, site, name_of(hop)] += count
        return counts

    def trim(self, gate: Gate) -> None:
        """Close kept connections of which slots were called back."""
        self._pool.trim(gate)

    async def close(self) -> None:
        """Leave all idle connections."""
        self._pool.close()

    def _hops(self, destination: Destination, source: str) -> tuple[NextHop, ...]:
        hops, route = hops_of(destination), destination.route
        if len(hops) < 2:
            return hops
        pool = self._pool
        return order_hops(
            hops,
            route,
            self._entropy,
            lambda hop: pool.busy(_key(destination, hop, source)),
            self._ticket(route),
        )

    def _ticket(self, route: RoutePolicy) -> float | None:
        if not isinstance(route, RelayRoute) or route.policy != "weighted":
            return None
        tickets = self._tickets.get(route.name)
        if tickets is None:
            tickets = self._tickets[route.name] = Tickets(self._entropy)
        return tickets.next()

    def _take(
        self, destination: Destination, hops: tuple[NextHop, ...], source: str
    ) -> tuple[_Key, Connection] | None:
        """Return a kept-open connection to the first hop, if there is one."""
        if not hops:
            return None
        key = _key(destination, hops[0], source)
        connection = self._pool.take(key)
        return None if connection is None else (key, connection)

    def _heard_ago(self, host: str) -> float | None:
        """Say how long ago a host was heard of on a session that is open; None without one."""
        heard_at = self._pool.last_heard(
            lambda key: isinstance(key, tuple) and name_of(key[3]) == host
        )
        return None if heard_at is None else asyncio.get_running_loop().time() - heard_at

    async def _try_hops(self, run: Run, hops: tuple[NextHop, ...]) -> None:
        destination = run.attempt.destination
        tally = run.tally
        allowance = run.attempt.allowance
        out_of_reach = ""
        failed: set[NextHop] = set()
        for hop in hops:
            if not run.may_go_on():
                return
            if not self.health.may_try(hop, destination.hops, destination.route, failed):
                continue
            addresses = await self._opener.addresses(hop, run.deadline)
            if isinstance(addresses, Failure):
                run.note_failure(addresses, hop.host)
                failed.add(hop)
                continue
            trouble: Failure | None = None
            is_up = False
            began = asyncio.get_running_loop().time()
            for address in addresses:
                if not run.may_go_on():
                    return
                if allowance is not None and not allowance.reaches(address):
                    out_of_reach = address
                    continue
                run.addresses += 1
                await self._pool.room(run.attempt.gates)
                connection = await self._opener.open(
                    hop, address, destination.route, run.deadline, allowance
                )
                if allowance is not None and allowance.is_stopped:
                    return
                if isinstance(connection, Failure):
                    trouble = connection
                    turned_away = is_turned_away(connection)
                    # What works for another queue is full as well, where it answers us.
                    at_limit = is_at_limit(connection, self._heard_ago(name_of(hop))) or (
                        turned_away and self.health.is_vouched(hop)
                    )
                    is_up = is_up or at_limit
                    run.was_at_limit |= at_limit
                    run.was_turned_away |= turned_away
                    run.note_failure(
                        connection, label_of(hop, address), AT_LIMIT if at_limit else None
                    )
                    continue
                is_up = True
                run.sessions += 1
                key = _key(destination, hop, "" if allowance is None else allowance.source_name)
                envelope = tally.pending_envelope()
                transaction = await self._transact(run, key, connection, envelope)
                run.note(transaction, connection)
                if not self.health.judge(hop, transaction.failure):
                    failed.add(hop)
            if trouble is not None and not is_up:
                failed.add(hop)
                # What blocks our address is no fault of the host, and another source may do.
                is_ours = allowance is not None and allowance.source and is_block(trouble.reply)
                if is_about_host(trouble) and not is_ours:
                    took_s = asyncio.get_running_loop().time() - began
                    self.health.failed(hop, str(trouble.reply), took_s)
        if out_of_reach and allowance is not None and not run.has_tried:
            allowance.cannot_reach(out_of_reach)

    async def _transact(
        self, run: Run, key: _Key, connection: Connection, envelope: Envelope
    ) -> Transaction:
        """One transaction on a connection, which then goes to the pool or is closed."""
        content = run.attempt.content
        transaction = Transaction(envelope, content.size_octets, content.parts)
        attempt = run.attempt
        if attempt.by_left_s is not None and not isinstance(attempt.destination.route, LmtpRoute):
            transaction.by_left_s = attempt.by_left_s - run.elapsed_s()
        session = connection.session
        before = session.replies
        pool = self._pool
        pool.begin(key, connection)
        try:
            await connection.transact(transaction, content, run.deadline)
        except BaseException:
            connection.abort()
            raise
        finally:
            pool.end(key, connection)
        run.replies = session.replies - before
        if session.transactions < run.attempt.destination.channel.transactions_max:
            pool.give(key, connection, run.attempt.gates)
        else:
            pool.dismiss(connection, run.attempt.gates)
        return transaction


def _untried(attempt: Attempt, error: str, probe_at: float) -> AttemptReport:
    # RFC 3463 §3.5: 4.4.1, no answer from host.
    reply = Reply(451, EnhancedStatusCode("4.4.1"), f"every host is down: {error}")
    outcome = Outcome(OutcomeKind.DEFERRED, reply)
    outcomes = (outcome,) * len(attempt.envelope.recipients)
    return AttemptReport(outcomes, FailureScope.SITE, untried=True, probe_at=probe_at)


def _put_back(attempt: Attempt) -> AttemptReport:
    reply = Reply(451, EnhancedStatusCode("4.4.5"), "no connection may be opened yet")
    outcomes = (Outcome(OutcomeKind.DEFERRED, reply),) * len(attempt.envelope.recipients)
    return AttemptReport(outcomes, FailureScope.LOCAL, is_put_back=True)


def _key(destination: Destination, hop: NextHop, source: str) -> _Key:
    return (destination.channel.name, destination.site, destination.route.name, hop, source)


def _is_all_delivered(transaction: Transaction) -> bool:
    finals = transaction.final_replies
    return (
        transaction.failure is None
        and len(finals) == 1
        and finals[0].is_positive
        and transaction.accepted == len(transaction.rcpt_replies)
    )
