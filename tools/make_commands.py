"""Write docs/commands.md from the parsers of the command line.

python tools/make_commands.py            compare; exit 1 where the page is not current
python tools/make_commands.py --write    write the page
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from postroom.cli.parser import EPILOG, FILTER_HELP, build_parser  # noqa: E402
from postroom.cli.sendmail_options import HELP  # noqa: E402
from postroom.sink.command import add_arguments  # noqa: E402

PAGE = ROOT / "docs" / "commands.md"
HEAD = """# Commands

`postroom [--config FILE] [--set NAME=VALUE] COMMAND`. This page is made from the command
line's own definition by `tools/make_commands.py`.

"""
ABSENT = """
A queue whose worker does not answer within 2 seconds, or whose directory is gone (MISSING), is
passed over: it is named on standard error, the exit code is 1, and with `--json` a listing has
a line for it with `"answering": false` and what the status board last said of it.
"""
SENDMAIL = """
## sendmail

`postroom sendmail`, the script `postroom-sendmail`, or `postroom` under the name `sendmail`
(a link is enough; the name `mailq` works too). The message is read from standard input. Exit 0
means that it is durable: in a queue or, while no server runs, in the maildrop.

| option | meaning |
| --- | --- |
{options}

Missing From, Date and Message-ID fields are added. Exit codes are those of `sysexits.h`: 64
wrong usage, 65 the message is refused, 67 a bad address, 75 try again later, 78 the
configuration is wrong.
"""


def page() -> str:
    """Return the page."""
    parser = build_parser()
    lines = [HEAD.rstrip(), "", EPILOG, "", f"A FILTER says {FILTER_HELP}.", ABSENT]
    for path, command in commands(parser, ()):
        if path == ("sendmail",):
            continue
        lines += section(path, command)
    rows = (f"| {_in_cells(option)} | {meaning} |" for option, meaning in HELP)
    return "\n".join(lines).rstrip() + "\n" + SENDMAIL.format(options="\n".join(rows))


def _in_cells(options: str) -> str:
    """Return options as code in a cell of a table."""
    return ", ".join(f"`{one}`" for one in options.replace("|", "\\|").split(", "))


def commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Give every command that does something, in order of the parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                if child.get_default("does"):
                    yield (*path, name), child
                yield from commands(child, (*path, name))


def section(path: tuple[str, ...], command: argparse.ArgumentParser) -> list[str]:
    """Return one command's part of the page."""
    name = " ".join(path)
    if path == ("sink",):
        about = command.description
        command = argparse.ArgumentParser(add_help=False)
        add_arguments(command)
        command.description = about
    hidden = ("help", argparse.SUPPRESS)
    actions = [one for one in command._actions if one.dest != "help" and one.help not in hidden]
    words = " ".join(_usage(action) for action in actions)
    lines = [f"## {name}", "", f"`{f'postroom {name} {words}'.strip()}`", ""]
    lines += [str(command.description), ""]
    described = [action for action in actions if action.help and action.dest != "json"]
    if described:
        lines += ["| argument | meaning |", "| --- | --- |"]
        for action in described:
            meaning = str(action.help).replace("|", "\\|")
            lines.append(f"| `{_name(action).replace('|', chr(92) + '|')}` | {meaning} |")
        lines.append("")
    return lines


def _usage(action: argparse.Action) -> str:
    if action.option_strings:
        return f"[{action.option_strings[-1]}{_value(action)}]"
    name = _shown(action)
    return {"*": f"[{name} ...]", "?": f"[{name}]", "+": f"{name} [{name} ...]"}.get(
        str(action.nargs), name
    )


def _name(action: argparse.Action) -> str:
    if action.option_strings:
        return ", ".join(action.option_strings) + _value(action)
    return _shown(action)


def _value(action: argparse.Action) -> str:
    return "" if action.nargs == 0 else f" {_shown(action)}"


def _shown(action: argparse.Action) -> str:
    if action.choices and not action.metavar:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def main() -> int:
    """Write or compare."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), "utf-8")
        return 0
    if not PAGE.is_file() or PAGE.read_text("utf-8") != page():
        print("docs/commands.md is not current: run python tools/make_commands.py --write")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
