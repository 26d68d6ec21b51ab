"""The plot of a soak: memory and descriptors of each process, and the mail, over time.

Pure.  Called by: tools.soak.  Raises: nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from tests.support.soak_run import Flow
from tests.support.soak_samples import Sample

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 860, 170, 70, 150, 50, 46
COLOURS = (
    "#1f6fb2", "#d1731a", "#2c8c4a", "#a03c9c", "#7a5c1e", "#c2334d", "#4a4a4a", "#2aa7a7",
)  # fmt: skip
Line = tuple[str, Sequence[tuple[float, float]]]


def as_svg(
    samples: Mapping[tuple[str, int], Sequence[Sample]], flows: Sequence[Flow],
    marks: Sequence[tuple[float, str]], seconds: float, note: str,
) -> str:  # fmt: skip
    """Return the plot."""
    names = sorted({name for name, _ in samples})
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}

    def lines(value: Callable[[Sample], float]) -> list[Line]:
        # One line for each process: a successor begins anew.
        return [(name, [(s.at, value(s)) for s in found]) for (name, _), found in samples.items()]

    flow_colours = {"received/s": COLOURS[0], "waiting": COLOURS[1]}
    panels = (
        ("memory of its own, MiB", lines(lambda one: one.anonymous_octets / 2**20), colours),
        ("descriptors", lines(lambda one: one.descriptors), colours),
        ("messages received a second", [("received/s", _rates(flows))], flow_colours),
        ("recipients that wait", [("waiting", [(f.at, f.waiting) for f in flows])], flow_colours),
        ("on disk, MiB", [
            ("spool", [(f.at, f.spool_octets / 2**20) for f in flows]),
            ("events", [(f.at, f.event_octets / 2**20) for f in flows]),
        ], {"spool": COLOURS[0], "events": COLOURS[1]}),
    )  # fmt: skip
    height = TOP + len(panels) * (PANEL + GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="20" y="24" font-size="15">A soak at 80 % of capacity with faults on; '
        "dotted: something was killed, or a host went down</text>",
    ]
    for place, (title, drawn, shown) in enumerate(panels):
        parts += _panel(title, drawn, shown, marks, seconds, TOP + place * (PANEL + GAP))
    parts.append(f'<text x="20" y="{height - 10}" font-size="10" fill="#555">{note}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _rates(flows: Sequence[Flow]) -> list[tuple[float, float]]:
    step = max(1, len(flows) // 120)
    some = flows[::step]
    return [
        (later.at, (later.received - sooner.received) / (later.at - sooner.at))
        for sooner, later in itertools.pairwise(some)
        if later.at > sooner.at
    ]


def _panel(
    title: str, lines: Sequence[Line], colours: Mapping[str, str],
    marks: Sequence[tuple[float, str]], seconds: float, top: float,
) -> list[str]:  # fmt: skip
    most = max((value for _, line in lines for _, value in line), default=1.0) * 1.08 or 1.0
    right, bottom = WIDTH - RIGHT, top + PANEL

    def x(at: float) -> float:
        return LEFT + (right - LEFT) * min(1.0, at / seconds)

    def y(value: float) -> float:
        return bottom - PANEL * value / most

    parts = [
        f'<text x="{LEFT}" y="{top - 6}">{title}</text>',
        f'<path d="M{LEFT} {top} V{bottom} H{right}" fill="none" stroke="#999"/>',
    ]
    parts += [
        f'<text x="{LEFT - 6}" y="{y(part * most / 1.08) + 4:.0f}" text-anchor="end" '
        f'font-size="10">{part * most / 1.08:.0f}</text>'
        for part in (0.0, 0.5, 1.0)
    ]
    parts += [
        f'<text x="{x(seconds * part / 4):.0f}" y="{bottom + 13}" text-anchor="middle" '
        f'font-size="10">{seconds * part / 240:.3g} min</text>'
        for part in range(5)
    ]
    parts += [
        f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{top}" y2="{bottom}" stroke="#bbb" '
        'stroke-dasharray="1 4"/>'
        for at, _ in marks
    ]
    for name, line in lines:
        step = max(1, len(line) // 300)
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in line[::step])
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="1.3"/>'
        )
    parts += [
        f'<text x="{right + 10}" y="{top + 12 + 16 * place}" fill="{colour}">{name}</text>'
        for place, (name, colour) in enumerate(colours.items())
    ]
    return parts
