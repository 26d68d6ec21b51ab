"""Sources in the configuration: what is read, and what is refused with line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.config.kinds import Place
from postroom.config.source_settings import OwnAddress
from postroom.core.limits import DayPlan, Rate
from postroom.shaping.source import SourcePolicy
from tests.unit.config.test_checks import loaded, mistakes

POOL = '[channel.default]\nsources = "a"\n'


def test_a_source_is_read_with_its_limits() -> None:
    text = (
        '[source.a]\naddress = ["127.0.0.2", "127.0.0.3"]\nhelo = "Out1.Example.org"\nweight = 5\n'
        'concurrency = 7\nrate = "50/1h"\nconnect_rate = "20/1m"\n' + POOL
    )
    config = loaded(text).config
    [source] = config.sources
    assert source.address == ("127.0.0.2", "127.0.0.3") and source.helo == "out1.example.org"
    assert (source.weight, source.concurrency) == (5, 7)
    assert source.rate == Rate(50, 3600.0) and source.connect_rate == Rate(20, 60.0)
    assert source.origin.endswith("f.toml:2") and source.families == "IPv4"
    assert config.channels[-1].sources == ("a",)


def test_an_address_has_one_spelling() -> None:
    read = OwnAddress().read
    place = Place(Path("/"))
    assert read("[2001:DB8:0::7]", place) == "2001:db8::7" and read("192.0.2.7", place)
    both = SourcePolicy("a", ("2001:db8::7", "192.0.2.7"))
    assert both.families == "IPv6 and IPv4"
    assert both.addresses_for("2001:db8::1") == ("2001:db8::7",)


def test_limits_of_new_connections_are_read_of_channels_and_sites() -> None:
    text = '[channel.default]\nconnect_rate = "20/1m"\nper_site.connect_rate = "5/1m burst 2"\n'
    [channel] = loaded(text).config.channels
    assert channel.connect_rate == Rate(20, 60.0) and channel.site_connect_rate == Rate(5, 60.0, 2)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[source.a]\nhelo = 'x.test'\n" + POOL, "1: source.a.address: missing; expected an array"),
        ("[source.a]\naddress = 'x'\n" + POOL, "2: source.a.address: \"x\" is no address"),
        ("[source.a]\naddress = '0.0.0.0'\n" + POOL, "2: source.a.address: \"0.0.0.0\" is no"),
        ("[source.a]\naddress = []\n" + POOL, "2: source.a.address: 0 elements are too few"),
        (POOL, '2: channel.default.sources: there is no source "a"; expected one of none; add a'),
        (
            "[source.east]\naddress = '127.0.0.2'\n" + POOL.replace('"a"', '["east", "eats"]'),
            '4: channel.default.sources: there is no source "eats"; expected one of east; did you',
        ),
        (
            "[source.a]\naddress = '127.0.0.2'\n[source.b]\naddress = '127.0.0.2'\n"
            + POOL.replace('"a"', '["a", "b"]'),
            "4: source.b.address: 127.0.0.2 belongs to source a already",
        ),
        (
            "[source.a]\naddress = '127.0.0.2'\n" + POOL.replace('"a"', '["a", "a"]'),
            "4: channel.default.sources: a source is named twice",
        ),
        (
            "[source.a]\naddress = '192.0.2.77'\n" + POOL,
            "2: source.a.address: 192.0.2.77: this machine has no such address; add it (ip addr",
        ),
        (
            "[source.a]\naddress = '127.0.0.2'\n" + POOL + "route = 'm'\n"
            "[route.m]\ntype = 'maildir'\npath = '/nowhere'\n",
            "4: channel.default.sources: route m makes no connections",
        ),
        (
            "[source.a]\naddress = '127.0.0.2'\n" + POOL
            + "[route.default]\ntype = 'relay'\nhost = '[2001:db8::1]:25'\n",
            "4: channel.default.sources: no source of the channel has an IPv6 address, which 2001",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_line_and_remedy(text: str, line: str) -> None:
    found = mistakes(text)
    assert any(one.startswith(line) for one in found), found


def test_a_source_that_no_channel_uses_is_odd() -> None:
    [warning] = loaded("[source.a]\naddress = '127.0.0.2'\n").warnings
    assert 'give it to one: sources = ["a"]' in warning


PLAN = "[warmup.new]\ndays = [50, 100]\nstart = 2026-12-01\n"
COLD = '[source.a]\naddress = "127.0.0.2"\nwarmup = "new"\n'


def test_a_source_follows_the_plan_that_it_names() -> None:
    both = POOL.replace('"a"', '["a", "b"]') + "[source.b]\naddress = '127.0.0.3'\n"
    for start in ("2026-12-01", '"2026-12-01"'):
        found = loaded(PLAN.replace("2026-12-01", start) + COLD + both)
        cold, warm = found.config.sources
        assert cold.plan == DayPlan((50, 100), 20788) and warm.plan is None
        assert not found.warnings
    # The first of December 2026 is the first day.
    assert cold.plan.number(1_796_083_200.0) == 1 and cold.plan.number(1_796_083_199.0) == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (COLD + POOL, '3: source.a.warmup: there is no warm-up plan "new"; expected one of none'),
        (
            PLAN.replace("new", "newer") + COLD + POOL,
            '6: source.a.warmup: there is no warm-up plan "new"; expected one of newer; did you',
        ),
        (
            "[warmup.new]\ndays = [5]\n" + COLD + POOL,
            "1: warmup.new.start: missing; expected a day",
        ),
        ("[warmup.new]\nstart = 2026-12-01\n" + COLD + POOL, "1: warmup.new.days: missing"),
        (PLAN.replace("50", "0") + COLD + POOL, "2: warmup.new.days: 0 is too small"),
        (
            PLAN.replace("2026-12-01", '"1.12.2026"') + COLD + POOL,
            '3: warmup.new.start: "1.12.2026" is not understood; expected a day: 2026-12-01',
        ),
        (PLAN.replace("2026-12-01", "2026-12-01T00:00:00Z") + COLD + POOL, "3: warmup.new.start"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_with_line_and_remedy(text: str, line: str) -> None:
    found = mistakes(text)
    assert any(one.startswith(line) for one in found), found


def test_plans_that_are_odd_are_told() -> None:
    [unused] = loaded(PLAN).warnings
    assert unused.endswith("f.toml:2: warmup.new.days: no source follows this plan")
    [alone] = loaded(PLAN + COLD + POOL).warnings
    assert "what these do not allow waits for the next day" in alone
