"""Tenants take turns among what waits in a lane: by weight, at bounded cost, and nobody starves."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.core.limits import Limit
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.queueing.tenants import TenantShare

WIDE = ChannelPolicy("wide", concurrency=1000, site_concurrency=1000)
LANE = LaneKey("wide", "s")
RECIPIENTS_MAX = 20


def entry(name: str, tenant: str, due_at: float = 0.0, recipients: int = 1, rank: int = 0) -> Entry:
    return Entry(
        QueueId(name), tuple(range(recipients)), LANE, due_at, due_at, rank, tenant, recipients
    )


def made(
    shares: dict[str, TenantShare], concurrency: int = 1, ranks: tuple[float, ...] = (1.0,)
) -> Scheduler:
    scheduler = Scheduler(concurrency, ranks)
    scheduler.tenants.reconfigure(shares)
    return scheduler


def order(scheduler: Scheduler, number: int = 1000) -> list[Entry]:
    """Return what is started, each as the one before it ends."""
    started: list[Entry] = []
    while len(started) < number:
        found = scheduler.tick(0.0)
        if not found:
            break
        started += found
        for one in found:
            scheduler.finish(one, reached=True)
    return started


def test_a_small_mailing_overtakes_a_large_one_of_another_tenant() -> None:
    scheduler = made({})
    for number in range(1000):
        scheduler.add(entry(f"big{number}", "big"), WIDE)
    for number in range(3):
        scheduler.add(entry(f"small{number}", "small", 5.0), WIDE)
    first = [str(one.id) for one in order(scheduler, 6)]
    assert first == ["big0", "small0", "big1", "small1", "big2", "small2"]


def test_what_goes_ahead_of_its_tenants_other_mail_is_due_when_it_is_due() -> None:
    scheduler = made({})
    first, ahead = entry("first", "a", 10.0), entry("ahead", "a", 20.0)
    ahead.lead_s = 60.0
    for one in (first, ahead):
        scheduler.add(one, WIDE)
    assert scheduler.oldest_due() == 20.0, "of the next to be tried"
    assert [str(one.id) for one in order(scheduler)] == ["ahead", "first"]


def test_weights_divide_the_turns_and_recipients_count() -> None:
    scheduler = made({"a": TenantShare(3), "b": TenantShare(1)})
    for number in range(400):
        scheduler.add(entry(f"a{number}", "a"), WIDE)
        scheduler.add(entry(f"b{number}", "b", recipients=2), WIDE)
    started = order(scheduler, 210)
    shares = {
        tenant: sum(len(one.indexes) for one in started if one.tenant == tenant)
        for tenant in ("a", "b")
    }
    assert abs(shares["a"] - 3 * shares["b"]) <= 6, shares


def test_mail_of_no_tenant_has_turns_beside_those_of_tenants() -> None:
    scheduler = made({"a": TenantShare(1)})
    for number in range(10):
        scheduler.add(entry(f"n{number}", ""), WIDE)
    scheduler.add(entry("a", "a"), WIDE)
    assert "a" in [str(one.id) for one in order(scheduler, 2)]


def test_a_tenant_at_its_limit_keeps_no_other_waiting_and_goes_on_when_it_may() -> None:
    scheduler = made({"few": TenantShare(1, Limit(1))}, concurrency=100)
    for number in range(5):
        scheduler.add(entry(f"f{number}", "few"), WIDE)
    for number in range(3):
        scheduler.add(entry(f"o{number}", "other"), WIDE)
    first = scheduler.tick(0.0)
    assert sorted(one.tenant for one in first) == ["few", "other", "other", "other"]
    assert scheduler.tick(0.0) == []
    few = next(one for one in first if one.tenant == "few")
    scheduler.finish(few, reached=True)
    assert [str(one.id) for one in scheduler.tick(0.0)] == ["f1"]


def test_the_limit_of_a_tenant_holds_over_its_lanes_which_take_turns() -> None:
    scheduler = made({"few": TenantShare(1, Limit(2))}, concurrency=100)
    for site in range(4):
        for number in range(2):
            lane = LaneKey("wide", f"s{site}")
            name = QueueId(f"{site}.{number}")
            scheduler.add(Entry(name, (0,), lane, 0.0, 0.0, tenant="few"), WIDE)
    served = []
    while found := scheduler.tick(0.0):
        assert len(found) <= 2
        served += [one.lane.site for one in found]
        for one in found:
            scheduler.finish(one, reached=True)
    assert set(served[:4]) == {"s0", "s1", "s2", "s3"} and len(served) == 8


def test_a_limit_that_is_set_counts_what_is_in_flight_and_lifted_lets_all_go() -> None:
    scheduler = made({}, concurrency=100)
    for number in range(6):
        scheduler.add(entry(f"a{number}", "a"), WIDE)
    flying = scheduler.tick(0.0)
    assert len(flying) == 5  # the window of a site that is not known
    scheduler.tenants.reconfigure({"a": TenantShare(1, Limit(4))})
    scheduler.finish(flying.pop(), reached=True)
    assert scheduler.tick(0.0) == []
    scheduler.finish(flying.pop(), reached=True)
    assert len(scheduler.tick(0.0)) == 1
    assert scheduler.loads()[0].ready == 0
    scheduler.add(entry("held", "a"), WIDE)
    scheduler.tenants.reconfigure({"a": TenantShare(1, Limit(0))})
    assert scheduler.tick(0.0) == []
    assert scheduler.loads()[0].ready == 0, "what is held makes no load"
    scheduler.tenants.reconfigure({})
    assert len(scheduler.tick(0.0)) == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "a", "b", "c"]), st.integers(1, RECIPIENTS_MAX), st.booleans()
        ),
        max_size=60,
    ),
    st.fixed_dictionaries({name: st.integers(1, 9) for name in ("a", "b", "c")}),
    st.integers(0, 2**32),
)
def test_all_is_started_in_order_of_each_tenant_and_nobody_waits_for_more_than_a_turn_of_each(
    mail: list[tuple[str, int, bool]], weights: dict[str, int], seed: int
) -> None:
    chance = random.Random(seed)
    scheduler = made({name: TenantShare(weight) for name, weight in weights.items()})
    entries = [
        entry(str(number), tenant, number, recipients)
        for number, (tenant, recipients, _) in enumerate(mail)
    ]
    late = [one for one, (_, _, is_late) in zip(entries, mail, strict=True) if is_late]
    waiting: dict[str, int] = {}
    for one in entries:
        if one not in late:
            scheduler.add(one, WIDE)
            waiting[one.tenant] = waiting.get(one.tenant, 0) + 1
    started: list[Entry] = []
    given_since: dict[str, dict[str, float]] = {}
    while len(started) < len(entries):
        if late and (not any(waiting.values()) or chance.random() < 0.3):
            one = late.pop(0)
            scheduler.add(one, WIDE)
            waiting[one.tenant] = waiting.get(one.tenant, 0) + 1
        (one,) = scheduler.tick(0.0)
        scheduler.finish(one, reached=True)
        started.append(one)
        waiting[one.tenant] -= 1
        # While the first of a tenant waits, each other has its weight for each turn that it takes
        # to save for the dearest attempt there is, and one attempt more.
        given_since[one.tenant] = {}
        for tenant, others in given_since.items():
            if tenant != one.tenant and waiting.get(tenant):
                others[one.tenant] = others.get(one.tenant, 0) + one.cost
                weight, own = weights.get(one.tenant, 1), weights.get(tenant, 1)
                turns = -(-RECIPIENTS_MAX // own) + 1
                assert others[one.tenant] <= weight * turns + RECIPIENTS_MAX
    assert sorted(started, key=lambda one: int(one.id)) == entries
    for tenant in ("", "a", "b", "c"):
        own = [int(one.id) for one in started if one.tenant == tenant and not mail[int(one.id)][2]]
        assert own == sorted(own)
    assert scheduler.tick(0.0) == []


@given(st.integers(0, 2**32))
def test_whatever_is_cancelled_rests_or_changes_rank_all_else_is_started_once(seed: int) -> None:
    chance = random.Random(seed)
    limits = {
        name: TenantShare(chance.randint(1, 5), Limit(chance.choice((None, 1, 2)))) for name in "ab"
    }
    scheduler = made(limits, chance.randint(1, 6), (0.5, 0.5))
    queued: list[Entry] = []
    flying: list[Entry] = []
    out: list[str] = []
    for number in range(chance.randint(1, 120)):
        match chance.randrange(7):
            case 0 | 1 | 2:
                lane = LaneKey("wide", f"s{chance.randrange(3)}")
                one = Entry(
                    QueueId(str(number)), (0,), lane, number, number, chance.randrange(2),
                    chance.choice(("", "a", "b")),
                )  # fmt: skip
                scheduler.add(one, WIDE)
                queued.append(one)
            case 3:
                found = scheduler.tick(number)
                flying += found
                queued = [one for one in queued if one not in found]
            case 4 if flying:
                scheduler.finish(flying[0], reached=True)
                out.append(flying.pop(0).id)
            case 5 if queued:
                assert scheduler.cancel(queued[0])
                queued.pop(0)
            case 6 if queued and chance.random() < 0.3:
                _, drained = scheduler.rest(queued[0].lane, number, 1.0, "451 no")
                queued = [one for one in queued if one not in drained]
        for name, share in limits.items():
            most = share.limit.slots
            assert most is None or sum(one.tenant == name for one in flying) <= most
    for turn in range(1000):
        found = scheduler.tick(1e6 + turn)
        flying += found
        queued = [one for one in queued if one not in found]
        if not flying:
            break
        scheduler.finish(flying.pop(0), reached=True)
    assert not queued and scheduler.busy == 0
    assert scheduler.loads() == []
    assert all(lane.recipients == 0 and not lane.tenants() for lane in scheduler.lanes())
