"""Metrics: an overview as the text that Prometheus reads (format 0.0.4).

Owns counters that only grow: a worker that starts anew counts from 0, and what is told goes on from
where it was. Sites come and go in an overview; what those did that have no samples of their own is
the rest of their channel, site "other".

Pure.  Guarantees: 1. a counter never goes back while a Meter lives.  2. memory is bounded: of
samples that are not told any more nothing is kept but for their last value, SAMPLES_MAX of them.
Called by: api.exposition.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from postroom.control.metric_table import METRICS, OTHER, SITE_OUTCOMES, Metric, Sample, outcomes
from postroom.control.overview import Overview

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SAMPLES_MAX = 20_000

_Key = tuple[str, tuple[str, ...]]


class _Count:
    """One counter: what a worker counts, and what is told."""

    __slots__ = ("raw", "seen", "told")

    def __init__(self, raw: float, told: float) -> None:
        self.raw = raw
        self.told = told
        self.seen = 0
        """The number of the answer it was in last."""

    def add(self, raw: float) -> float:
        """Take a newer value; return by how much it has grown."""
        # Below what it was, a worker began anew: what it has done since then is at most `raw`.
        grown = raw - self.raw if raw >= self.raw else 0.0
        self.raw = raw
        self.told += grown
        return grown


class Meter:
    """The counters that one process tells of one server."""

    def __init__(self) -> None:
        self._counts: dict[_Key, _Count] = {}
        self._number = 0
        self._is_first = True

    def text(self, overview: Overview) -> str:
        """Return all metrics of an overview."""
        self._number += 1
        lines: list[str] = []
        for metric in METRICS:
            lines.append(f"# HELP {metric.name} {_escaped(metric.help, quote=False)}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            samples: Iterable[Sample] = metric.samples(overview)
            if metric.name == SITE_OUTCOMES:
                samples = self._of_sites(metric, overview)
            elif metric.kind == "counter":
                samples = [(labels, self._told(metric, labels, value)) for labels, value in samples]
            lines += [_line(metric, labels, value) for labels, value in samples]
        self._is_first = False
        self._forget()
        return "\n".join(lines) + "\n"

    def _told(self, metric: Metric, labels: tuple[str, ...], raw: float) -> float:
        count = self._counts.get((metric.name, labels))
        if count is None:
            count = self._counts[metric.name, labels] = _Count(raw, raw)
        count.add(raw)
        count.seen = self._number
        return count.told

    def _of_sites(self, metric: Metric, overview: Overview) -> Iterator[Sample]:
        """Give the counters of the sites, then of the rest of each channel."""
        grown: dict[tuple[str, str], float] = {}
        for labels, raw in metric.samples(overview):
            count = self._counts.get((metric.name, labels))
            if count is None or count.seen != self._number - 1:
                # New here, or back: what it did meanwhile was told as that of others.
                told = raw if self._is_first else count.told if count is not None else 0.0
                count = self._counts[metric.name, labels] = _Count(raw, told)
                by = raw if self._is_first else 0.0
            else:
                by = count.add(raw)
            count.seen = self._number
            channel, _, outcome = labels
            grown[channel, outcome] = grown.get((channel, outcome), 0.0) + by
            yield labels, count.told
        for channel_view in overview.channels:
            for outcome, raw in outcomes(channel_view.done):
                if outcome == "accepted":
                    continue
                name = channel_view.name
                key = (metric.name, (name, OTHER, outcome))
                rest = self._counts.get(key)
                if rest is None:
                    rest = self._counts[key] = _Count(raw, 0.0)
                    all_grown = raw if self._is_first else 0.0
                else:
                    all_grown = max(0.0, raw - rest.raw)
                rest.raw, rest.seen = raw, self._number
                rest.told += max(0.0, all_grown - grown.get((name, outcome), 0.0))
                yield key[1], rest.told

    def _forget(self) -> None:
        if len(self._counts) > SAMPLES_MAX:
            self._counts = {
                key: count for key, count in self._counts.items() if count.seen == self._number
            }


def _line(metric: Metric, labels: tuple[str, ...], value: float) -> str:
    pairs = ",".join(
        f'{name}="{_escaped(text, quote=True)}"'
        for name, text in zip(metric.labels, labels, strict=True)
    )
    number = repr(int(value)) if value == int(value) else repr(value)
    return f"{metric.name}{{{pairs}}} {number}" if pairs else f"{metric.name} {number}"


def _escaped(text: str, *, quote: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text
