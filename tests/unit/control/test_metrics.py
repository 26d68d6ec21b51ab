"""Metrics are text that Prometheus reads, and counters never go back."""

from __future__ import annotations

import json
import re

from prometheus_client.parser import text_string_to_metric_families

from postroom.control.answers import ChannelStatus, RelayStatus, SourceStatus
from postroom.control.metric_table import BY_NAME, METRICS, OTHER, SITES_MAX, TENANTS_MAX
from postroom.control.metrics import Meter
from postroom.control.overview import Overview
from postroom.engine.views import Done, QueueTenant, Stored
from postroom.shaping.pauses import Pause
from tests.unit.control.overviews import answer, channel, overview, queue, server, site
from tools import make_metrics


def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return all samples, as Prometheus's own parser reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return read(text)[f"postroom_{name}", tuple(sorted(labels.items()))]


def at(delivered: int, *of_sites: tuple[str, int]) -> Overview:
    """Return an overview of one channel that delivered so many, so many of them by site."""
    rows = tuple(site(name=name, done=Done(delivered=count)) for name, count in of_sites)
    has = channel(done=Done(accepted=delivered, delivered=delivered))
    return overview(server(queue(delivered=delivered)), answer(channels=(has,), sites=rows))


def test_every_metric_is_told_with_help_and_type_and_read_by_prometheus() -> None:
    view = server(
        channels=(ChannelStatus("default", "running", concurrency=9),),
        relays=(RelayStatus("out", "a.example:25", 1, 1, "weighted", "up"),),
        sources=(SourceStatus("ip1", "ready", pauses=(Pause("ip1"),)),),
    )  # fmt: skip
    one = answer(
        channels=(channel(stored=Stored(1, 2, 3, 4, 4)),), sites=(site(),),
        tenants=(QueueTenant("shop", ready=3),), stored=Stored(1, 2, 3, 4, 4),
    )  # fmt: skip
    text = Meter().text(overview(view, one))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind and family.documentation == metric.help
        if metric.name not in ("postroom_host_share_real",):
            assert family.samples, metric.name
        for sample in family.samples:
            assert tuple(sample.labels) == metric.labels or not metric.labels
    assert value(text, "channel_backlog_recipients", channel="default", state="scheduled") == 3
    assert value(text, "queue_backlog_recipients", queue="queue1", state="quarantined") == 4
    assert value(text, "tenant_ready", tenant="shop") == 3
    assert value(text, "source_paused", source="ip1") == 1
    assert value(text, "host_up", route="out", host="a.example:25") == 1


def test_names_are_as_prometheus_asks_for() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"postroom_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.help.endswith(".") and not metric.help.endswith("..")
    assert len(BY_NAME) == len(METRICS)


def test_counters_go_on_when_a_worker_starts_anew() -> None:
    meter = Meter()
    told = [
        value(meter.text(at(count)), "queue_outcomes_total", queue="queue1", outcome="delivered")
        for count in (100, 150, 3, 10)
    ]
    assert told == [100, 150, 150, 157]


def test_sites_without_samples_of_their_own_are_the_rest_of_their_channel() -> None:
    meter = Meter()

    def told(found: Overview) -> dict[str, float]:
        return {
            dict(labels)["site"]: count
            for (name, labels), count in read(meter.text(found)).items()
            if name == "postroom_site_outcomes_total" and ("outcome", "delivered") in labels
        }

    assert told(at(100, ("a", 30), ("b", 20))) == {"a": 30, "b": 20, OTHER: 50}
    assert told(at(120, ("a", 35), ("b", 20))) == {"a": 35, "b": 20, OTHER: 65}
    # b has no samples for a while, and c is new: nothing is told twice.
    assert told(at(150, ("a", 40), ("c", 500))) == {"a": 40, "c": 0, OTHER: 90}
    assert told(at(190, ("a", 40), ("b", 45), ("c", 510))) == {
        "a": 40,
        "b": 20,
        "c": 10,
        OTHER: 120,
    }
    last = told(at(200, ("a", 40), ("b", 50), ("c", 510)))
    assert last == {"a": 40, "b": 25, "c": 10, OTHER: 125} and sum(last.values()) == 200


def test_however_many_sites_and_tenants_there_are_samples_are_few() -> None:
    rows = tuple(site(name=f"s{number}") for number in range(1000))
    tenants = tuple(QueueTenant(f"t{number}") for number in range(1000))
    found = overview(None, answer(sites=rows, tenants=tenants, sites_total=1000), limit=1000)
    text = Meter().text(found)
    samples = read(text)
    sites = {dict(labels)["site"] for (_, labels) in samples if "site" in dict(labels)}
    assert len(sites) == SITES_MAX + 1 and OTHER in sites
    assert len({dict(one)["tenant"] for _, one in samples if "tenant" in dict(one)}) == TENANTS_MAX
    assert value(text, "sites") == 1000


def test_names_of_strangers_do_not_break_the_text() -> None:
    bad = 'x"}\n\\evil 1'
    text = Meter().text(overview(None, answer(sites=(site(name=bad),))))
    assert any(dict(labels).get("site") == bad for _, labels in read(text))


def test_page_and_dashboard_are_as_their_tool_makes_them() -> None:
    assert make_metrics.current(), "run: python tools/make_metrics.py --write"
    page = make_metrics.PAGE.read_text("utf-8")
    assert all(page.count(f"| `{metric.name}` |") == 1 for metric in METRICS)


def test_the_dashboard_asks_for_metrics_that_there_are_by_labels_that_they_have() -> None:
    dashboard = json.loads(make_metrics.DASHBOARD.read_text("utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for one in expressions for name in re.findall(r"postroom_[a-z_]+", one)}
    assert asked and asked <= BY_NAME.keys(), asked - BY_NAME.keys()
    for one in expressions:
        has = {
            label for name in re.findall(r"postroom_[a-z_]+", one) for label in BY_NAME[name].labels
        }
        used = set(re.findall(r"by \((\w+)\)", one)) | set(re.findall(r"(\w+)!?=\"", one))
        assert used <= has, one
