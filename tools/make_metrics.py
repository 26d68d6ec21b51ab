"""Write docs/metrics.md and the Grafana dashboard from the table of metrics.

`python tools/make_metrics.py` exits 1 where one of them is not current; `--write` renews them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "metrics.md"
DASHBOARD = ROOT / "deploy" / "grafana" / "postroom.json"

HEAD = """# Metrics

What `/metrics` of the console tells, in the text format of Prometheus. How to read them, with
alerts and a dashboard: [Watch with Prometheus](how-to/metrics.md).

Samples are bounded however many sites have mail: queues, channels, relays and sources are as many
as the configuration has; of sites the first {sites} are told, those in trouble and with the most
mail first, and of tenants the first {tenants}. What all other sites came to is that of site
`other`. A counter goes on where it was when a worker starts anew; it begins anew with the console.

This page is written by `tools/make_metrics.py` from `src/postroom/control/metric_table.py`.
"""

SECTIONS = (
    ("The server", ""), ("Queues", "queue"), ("Channels", "channel"), ("Sites", "site"),
    ("Relays and hosts", "host"), ("Sources", "source"), ("Tenants", "tenant"),
)  # fmt: skip

PANELS: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Stuck", "stat", "short", (("sum(postroom_troubles{severity!=\"notice\"})", "troubles"),)),
    ("Recipients that wait", "stat", "short", (("sum(postroom_queue_recipients)", "recipients"),)),
    ("Oldest waiting", "stat", "s", (("max(postroom_queue_oldest_seconds)", "oldest"),)),
    ("Queues up", "stat", "short", (("sum(postroom_queue_up)", "up"), ("postroom_queues", "all"))),
    ("In and out", "timeseries", "ops", (
        ("sum(rate(postroom_queue_messages_accepted_total[5m]))", "messages in"),
        ("sum(rate(postroom_queue_outcomes_total[5m])) by (outcome)", "{{outcome}}"),
    )),
    ("Load by queue", "timeseries", "short", (
        ("postroom_queue_load", "{{queue}}"), ("postroom_load_mark", "more queues above"),
    )),
    ("Backlog by state", "timeseries", "short", (
        ("sum(postroom_queue_backlog_recipients{state!=\"quarantined\"}) by (state)", "{{state}}"),
    )),
    ("Room for new mail", "timeseries", "bytes", (("postroom_queue_room_octets", "{{queue}}"),)),
    ("Delivered by channel", "timeseries", "ops", (
        ("sum(rate(postroom_channel_outcomes_total{outcome=\"delivered\"}[5m])) by (channel)",
         "{{channel}}"),
    )),
    ("Put off by channel", "timeseries", "ops", (
        ("sum(rate(postroom_channel_outcomes_total{outcome=\"deferred\"}[5m])) by (channel)",
         "{{channel}}"),
    )),
    ("Used of the limit, by channel", "timeseries", "percentunit", (
        ("postroom_channel_in_flight / (postroom_channel_limit > 0)", "{{channel}}"),
    )),
    ("Oldest waiting, by channel", "timeseries", "s", (
        ("postroom_channel_oldest_seconds", "{{channel}}"),
    )),
    ("Sites that cannot be used", "table", "short", (("postroom_site_usable == 0", ""),)),
    ("Mail in memory, by site", "timeseries", "short", (
        ("topk(10, postroom_site_recipients)", "{{channel}} {{site}}"),
    )),
    ("Relays: real share", "timeseries", "percentunit", (
        ("postroom_host_share_real", "{{host}}"),
    )),
    ("Relays that are down", "table", "short", (("postroom_host_up == 0", ""),)),
)  # fmt: skip


def page() -> str:
    """Return what docs/metrics.md should hold."""
    from postroom.control.metric_table import METRICS, SITES_MAX, TENANTS_MAX

    parts = [HEAD.format(sites=SITES_MAX, tenants=TENANTS_MAX)]
    for title, kind in SECTIONS:
        parts.append(f"\n## {title}\n\n| Metric | Kind | Labels | Meaning |\n")
        parts.append("| --- | --- | --- | --- |\n")
        for one in METRICS:
            if _section_of(one.labels) == kind:
                labels = ", ".join(f"`{label}`" for label in one.labels)
                parts.append(f"| `{one.name}` | {one.kind} | {labels} | {one.help} |\n")
    return "".join(parts)


def _section_of(labels: tuple[str, ...]) -> str:
    for kind in ("site", "host", "queue", "channel", "source", "tenant"):
        if kind in labels:
            return kind
    return ""


def dashboard() -> str:
    """Return what the dashboard should hold."""
    panels: list[dict[str, Any]] = []
    x = y = 0
    for number, (title, kind, unit, targets) in enumerate(PANELS, 1):
        width, height = (6, 4) if kind == "stat" else (12, 8)
        if x + width > 24:
            x, y = 0, y + panels[-1]["gridPos"]["h"]
        options: dict[str, Any] = {}
        if kind == "stat":
            options = {"reduceOptions": {"calcs": ["lastNotNull"], "values": False}}
        panels.append(
            {
                "id": number,
                "title": title,
                "type": kind,
                "datasource": {"type": "prometheus", "uid": "${source}"},
                "gridPos": {"h": height, "w": width, "x": x, "y": y},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "options": options,
                "targets": [
                    {
                        "refId": chr(ord("A") + place),
                        "expr": expression,
                        "legendFormat": legend,
                        "instant": kind == "table",
                        "format": "table" if kind == "table" else "time_series",
                    }
                    for place, (expression, legend) in enumerate(targets)
                ],
            }
        )
        x += width
    board = {
        "title": "Postroom",
        "uid": "postroom",
        "tags": ["mail"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus",
                 "label": "Prometheus"},
            ]
        },
        "panels": panels,
    }  # fmt: skip
    return json.dumps(board, indent=2) + "\n"


def current() -> bool:
    """Say whether both are as they should be."""
    return all(path.exists() and path.read_text("utf-8") == text for path, text in _files())


def _files() -> list[tuple[Path, str]]:
    return [(PAGE, page()), (DASHBOARD, dashboard())]


def main(arguments: list[str]) -> int:
    """Compare, or write."""
    if "--write" in arguments:
        for path, text in _files():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return 0
    if not current():
        print("docs/metrics.md or the dashboard is old: python tools/make_metrics.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
