"""Write docs/python.md from what the Python packages declare for programs.

`python tools/make_python.py` exits 1 where the page is not current; `--write` renews it.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import get_type_hints

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

PAGE = ROOT / "docs" / "python.md"

HEAD = """# Python

What programs may rely on. How to use it: [Send from Python](how-to/python.md),
[Decide in Python](how-to/policy.md).

This page is written by `tools/make_python.py` from the docstrings.
"""
METHODS = ("send", "asend", "submit", "asubmit", "close")
"""Of the client; the others are for our own commands."""


def page() -> str:
    """Return what docs/python.md should hold."""
    from postroom import hooks
    from postroom.client import Client, NotAccepted, Unavailable
    from postroom.client.wishes import Wish
    from postroom.core.message import Envelope, Recipient

    parts = [HEAD, "\n## postroom\n"]
    parts += _class(Client, "Client", METHODS, place="postroom")
    parts += ["\n### What may be wished\n", f"\n{_text(Wish)}\n\n"]
    for name, kind in get_type_hints(Wish).items():
        shown = kind.__name__ if isinstance(kind, type) else str(kind)
        parts.append(f"- `{name}`: `{shown.replace('datetime.datetime', 'datetime')}`\n")
    parts.append("\n## postroom.client\n")
    for error in (NotAccepted, Unavailable):
        parts += ["\n### " + error.__name__, f"\n\nAn exception. {_text(error)}\n"]
    parts.append("\n## postroom.core.message\n")
    for struct in (Recipient, Envelope):
        parts += _class(struct, struct.__name__, ())
    parts.append("\n## postroom.hooks\n")
    for name in hooks.__all__:
        given = name in ("Client", "Message")
        methods = tuple(
            one for one, _ in inspect.getmembers(getattr(hooks, name), inspect.isfunction)
            if not one.startswith("_")
        )  # fmt: skip
        parts += _class(getattr(hooks, name), name, methods, call=not given, place="hooks")
    return "".join(parts)


def _class(
    kind: type, name: str, methods: tuple[str, ...], *, call: bool = True, place: str = ""
) -> list[str]:
    # Both packages have a Client, and headings need names of their own.
    parts = [f"\n### {place}.{name}\n" if place else f"\n### {name}\n"]
    if call:
        parts.append(f"\n```python\n{name}{_signature(kind).removesuffix(' -> None')}\n```\n")
    parts.append(f"\n{_text(kind)}\n")
    begin = kind.__dict__.get("__init__")
    if call and begin is not None and begin.__doc__:
        parts.append(f"\n{_text(begin)}\n")
    for method in methods:
        function = getattr(kind, method)
        before = "async " if inspect.iscoroutinefunction(function) else ""
        parts.append(f"\n```python\n{before}{name}.{method}{_signature(function)}\n```\n")
        parts.append(f"\n{_text(function)}\n")
    return parts


def _signature(kind: object) -> str:
    """Return a signature as it is read, over several lines where it is long."""
    assert callable(kind)
    whole = inspect.signature(kind)
    given = [one for name, one in whole.parameters.items() if name != "self"]
    text = str(whole.replace(parameters=given))
    text = re.sub(r"<(\w+)\.(\w+): 0>", r"\1.\2", text.replace("'", ""))
    # Names of modules say nothing here.
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)
    text = text.replace("= )", '= "")').replace("= ,", '= "",')
    if len(text) <= 80:
        return text
    end = text.rindex(")")
    inner, result = text[1:end], text[end:]
    depth, parts, current = 0, [], ""
    for character in inner:
        depth += (character in "[(") - (character in "])")
        if character == "," and not depth:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    parts.append(current.strip())
    return "(\n" + "".join(f"    {part},\n" for part in parts) + result


def _text(thing: object) -> str:
    return inspect.getdoc(thing) or ""


def main(arguments: list[str]) -> int:
    """Compare, or write."""
    if "--write" in arguments:
        PAGE.write_text(page(), "utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text("utf-8") != page():
        print("docs/python.md is not current: run python tools/make_python.py --write")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
