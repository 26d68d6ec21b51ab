"""Write docs/events.md from the closed list of events.

`python tools/make_events.py` exits 1 where the page is not current; `--write` renews it.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "events.md"

HEAD = """# Events

One event is one change of state. This list is closed: the log, and everything that counts
or shows, is made of these. No event holds content or credentials.

A line of the log with `format = "json"`:

```json
{"time":"2026-01-31T09:15:02.113Z","queue":"queue1","event":"done","id":"1mg3c9e4s8r2vk0a"}
```

The same with `format = "text"`:

```
2026-01-31T09:15:02.113Z queue1 done id=1mg3c9e4s8r2vk0a
```

`time` is UTC, `queue` names the worker that writes (`master` for the master). A field at its
default is left out. Fields that end in `_at` and `until` are seconds since 1970 in JSON,
and a date in text; `_s` is seconds. How to follow one message:
[Read the log](how-to/logs.md).

This page is written by `tools/make_events.py` from `src/postroom/observe/`.
"""


def page() -> str:
    """Return what docs/events.md should hold."""
    from postroom.observe.events import ALL_EVENTS

    parts = [HEAD]
    for kind in ALL_EVENTS:
        parts.append(f"\n## {kind.__struct_config__.tag}\n\n{inspect.getdoc(kind)}\n")
        fields = msgspec.structs.fields(kind)
        if fields:
            parts.append("\n| Field | Type | Default |\n| --- | --- | --- |\n")
        for field in fields:
            default = "" if field.default is msgspec.NODEFAULT else f"`{field.default!r}`"
            parts.append(f"| `{field.name}` | {field.type.__name__} | {default} |\n")
    return "".join(parts)


def main(arguments: list[str]) -> int:
    """Compare, or write."""
    if "--write" in arguments:
        PAGE.write_text(page(), "utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text("utf-8") != page():
        print("docs/events.md is not current: run python tools/make_events.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    raise SystemExit(main(sys.argv[1:]))
