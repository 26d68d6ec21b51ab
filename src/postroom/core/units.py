"""Durations and sizes as people write them: "4h", "1h 30m", "50 MiB".

Called by: config, channels, cli.  Raises: ValueError that says what was expected.
"""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)?\s*\Z")
_OCTETS = {
    "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip


def parse_duration(text: str) -> float:
    """Return the seconds in a text such as "90s", "5m", "1h 30m" or "5d"."""
    position, total = 0, 0.0
    stripped = text.rstrip()
    while position < len(stripped):
        part = _DURATION_PART.match(stripped, position)
        if part is None:
            break
        total += float(part[1]) * _SECONDS[part[2]]
        position = part.end()
    if position == 0 or position != len(stripped):
        raise ValueError(f'{text!r} is not a duration (a number with ms, s, m, h, d or w: "5m")')
    return total


def format_duration(seconds: float) -> str:
    """Return a short text for a duration, two units at most: "1h 30m"."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms" if seconds > 0 else "0s"
    left = round(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])


def parse_size(text: str) -> int:
    """Return the octets in a text such as "50 MiB" or "1024"."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f'{text!r} is not a size (a number with KiB, MiB, GiB: "50 MiB")')
    return int(float(match[1]) * _OCTETS[match[2] or "B"])


def format_size(octets: float) -> str:
    """Return a short text for a size: "4.0 KiB"."""
    size = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
