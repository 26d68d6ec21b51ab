"""`postroom man`: manual pages, made from the parser, the settings and the options of sendmail.

    postroom(1)           what it is, options for all commands, exit codes, files
    postroom-COMMAND(1)   one for each command, or group of commands
    postroom-sendmail(1)  and postroom-mailq(1): under the names that programs know
    postroom.toml(5)      every setting

They are made when they are asked for, so they are those of the program that is installed. The
wheel brings them as files (setup.py).

Called by: cli.main, setup.py, tools/make_man.py.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from postroom import __version__
from postroom.cli.manual_examples import EXAMPLES
from postroom.cli.output import OK, fail
from postroom.cli.parser import EPILOG, FILTER_HELP, build_parser
from postroom.cli.roff import Page, sentence
from postroom.cli.sendmail_options import HELP as SENDMAIL_OPTIONS
from postroom.core.clock import SystemClock

NAMES_OF_OLD = ("sendmail", "mailq")
"""Commands whose pages can stand for those of the MTA that they take the place of."""


def run(options: argparse.Namespace) -> int:
    """List the pages, show one, or write them all."""
    if options.install:
        return _install(Path(options.install), with_old_names=options.old_names)
    known = {page.name: page for page in pages()}
    if not options.page:
        for page in known.values():
            print(f"{page.name}({page.number})")
        return OK
    wanted = options.page.removesuffix(".1").removesuffix(".5")
    chosen = known.get(wanted) or known.get(f"postroom-{wanted}")
    if chosen is None:
        fail(f"there is no page {options.page}", "see them: postroom man")
    if sys.stdout.isatty() and shutil.which("man"):
        # "-l -": the page is what comes on standard input.
        shown = subprocess.run(["man", "-l", "-"], check=False, input=chosen.render().encode())
        return shown.returncode
    print(chosen.render(), end="")
    return OK


def pages() -> Iterator[Page]:
    """Give every page."""
    parser = build_parser()
    yield _overview(parser)
    for action in _subparsers(parser):
        abouts = {one.dest: str(one.help or "") for one in action._choices_actions}
        for name, command in action.choices.items():
            page = _page(f"postroom-{name}", 1, abouts.get(name, ""))
            if name == "sendmail":
                _fill_sendmail(page)
            else:
                _fill_command(page, name, command)
            yield page
    # Imported where it is used: the table of settings takes longer than all the rest.
    from postroom.cli.manual_settings import fill

    page = _page("postroom.toml", 5, "configuration of Postroom")
    fill(page)
    _see_also(page, "postroom(1)", "postroom-check(1)", "postroom-reload(1)")
    yield page


def _page(name: str, number: int, about: str) -> Page:
    # SOURCE_DATE_EPOCH: whoever builds packages again wants the same octets.
    at = float(os.environ.get("SOURCE_DATE_EPOCH") or SystemClock().now())
    date = datetime.datetime.fromtimestamp(at, datetime.UTC).date().isoformat()
    return Page(name, number, about, date, __version__)


def _subparsers(
    parser: argparse.ArgumentParser,
) -> Iterator[argparse._SubParsersAction[argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield action


def _overview(parser: argparse.ArgumentParser) -> Page:
    page = _page("postroom", 1, "outbound mail queue")
    page.section("SYNOPSIS")
    page.synopsis("postroom", "[--config FILE] [--set NAME=VALUE] COMMAND [...]")
    page.section("DESCRIPTION")
    page.text(
        "Postroom accepts mail by SMTP, from programs of this machine and from Python, makes it "
        "durable before it says 250, delivers it to the hosts that the DNS names or to relays, "
        "tries again, and reports what could not be delivered. It sends only: it has no mailboxes "
        "and receives for no domain.",
        first=True,
    )
    page.text(
        "`postroom serve` runs the server; the other commands talk to it over a socket below "
        "the spool. Those that list mail also work while it is down."
    )
    page.section("OPTIONS")
    _items(page, parser)
    page.section("COMMANDS")
    for action in _subparsers(parser):
        for one in action._choices_actions:
            page.item(f"postroom-{one.dest}(1)", sentence(str(one.help)))
    page.section("EXIT STATUS")
    page.text(EPILOG.partition(": ")[2], first=True)
    page.section("ENVIRONMENT")
    page.item("POSTROOM_CONFIG", "the configuration file, where `--config` names none")
    page.item("POSTROOM_TABLE_SETTING", "any setting: see postroom.toml(5)")
    page.section("FILES")
    page.item("/etc/postroom/postroom.toml", "the configuration: postroom.toml(5)")
    page.item("BASE/queue1 ...", "the queues, below `spool.base`; readable with sqlite3(1)")
    page.item("BASE/run/control.sock", "where commands reach the server")
    page.section("SIGNALS")
    for name, what in (
        ("HUP", "open the log anew and read the configuration again, all of it or nothing"),
        ("ALRM", "make every deferred recipient due now"),
        ("USR1, USR2", "suspend delivery, also over a restart; resume it"),
        ("TERM, INT", "accept no more, finish what is in flight, stop; a second one stops at once"),
    ):
        page.item(name, sentence(what))
    _examples(page, "")
    _see_also(page, "postroom.toml(5)", "postroom-serve(1)", "postroom-why(1)", "postroom-mail(1)")
    return page


def _fill_command(page: Page, name: str, command: argparse.ArgumentParser) -> None:
    below = [*_below(name, command)]
    alone = len(below) == 1 and below[0][0] == name
    if name == "sink":
        from postroom.sink.command import add_arguments

        command = argparse.ArgumentParser(prog="postroom sink", add_help=False)
        add_arguments(command)
        below = [(name, command)]
    page.section("SYNOPSIS")
    for path, one in below:
        page.synopsis(f"postroom {path}", arguments_of(one))
    page.section("DESCRIPTION")
    if alone:
        about, *more = str(command.description).split("\n\n")
        page.text(about, first=True)
        for part in more:
            _part(page, part)
        if _has_items(command):
            page.section("OPTIONS")
            _items(page, command)
    else:
        page.text(str(command.description), first=True)
        for path, one in below:
            page.subsection(path)
            page.text(str(one.description), first=True)
            _items(page, one)
    if any(_is_filter(action) for _, one in below for action in _shown(one)):
        page.section("FILTERS")
        page.text(sentence(FILTER_HELP), first=True)
    _examples(page, name)
    page.section("EXIT STATUS")
    page.text(EPILOG.partition(": ")[2], first=True)
    also = ("sendmail",) if name == "mailq" else ()
    _see_also(page, "postroom(1)", *(f"postroom-{one}(1)" for one in also), "postroom.toml(5)")


def _part(page: Page, text: str) -> None:
    """Add a part of a long description; lines that are indented are examples."""
    lines = text.splitlines()
    indented = [line.strip() for line in lines if line.startswith("  ")]
    page.text(sentence(" ".join(line for line in lines if not line.startswith("  "))))
    if indented:
        page.example(indented)


def _below(
    path: str, command: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Give what can be called: the command itself, and those below it."""
    if command.get_default("does"):
        yield path, command
    for action in _subparsers(command):
        for name, child in action.choices.items():
            yield from _below(f"{path} {name}", child)


def _shown(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in command._actions:
        hidden = action.dest == "help" or action.help == argparse.SUPPRESS
        if not hidden and not isinstance(action, argparse._SubParsersAction):
            yield action


def _has_items(command: argparse.ArgumentParser) -> bool:
    return any(_shown(command))


def arguments_of(command: argparse.ArgumentParser) -> str:
    """Return what stands behind a command in a synopsis: options first."""
    words = []
    for action in sorted(_shown(command), key=lambda one: not one.option_strings):
        value = _value(action)
        if action.option_strings:
            text = f"{action.option_strings[0]} {value}".rstrip()
            words.append(text if action.required else f"[{text}]")
        else:
            forms = {"*": f"[{value} ...]", "?": f"[{value}]", "+": f"{value} [{value} ...]"}
            words.append(forms.get(str(action.nargs), value))
    return " ".join(words)


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices and not action.metavar:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _items(page: Page, command: argparse.ArgumentParser) -> None:
    for action in _shown(command):
        names = ", ".join(action.option_strings)
        about = "which messages: see FILTERS" if _is_filter(action) else str(action.help or "")
        page.item(f"{names} {_value(action)}".strip(), sentence(about))


def _is_filter(action: argparse.Action) -> bool:
    return action.metavar == "FILTER"


def _fill_sendmail(page: Page) -> None:
    page.section("SYNOPSIS")
    page.synopsis("sendmail", "[OPTION ...] [RECIPIENT ...]")
    page.synopsis("postroom sendmail", "[OPTION ...] [RECIPIENT ...]")
    page.section("DESCRIPTION")
    page.text(
        "Takes a message from standard input, as sendmail of old does, and hands it to a queue. "
        "It goes by the name `postroom-sendmail`, and is what `postroom` does where it is called "
        "`sendmail`: a link is enough. Exit 0 means that the message is durable: in a queue or, "
        "while no server runs, in the maildrop.",
        first=True,
    )
    page.text("Missing From, Date and Message-ID fields are added.")
    page.section("OPTIONS")
    for option, meaning in SENDMAIL_OPTIONS:
        page.item(option, sentence(meaning))
    _examples(page, "sendmail")
    page.section("EXIT STATUS")
    page.text(
        "Those of sysexits.h: 0 the message is durable; 64 wrong usage; 65 the message is refused; "
        "67 a bad address; 75 try again later; 78 the configuration is wrong.",
        first=True,
    )
    _see_also(page, "postroom(1)", "postroom-mailq(1)", "postroom-inject(1)")


def _examples(page: Page, name: str) -> None:
    if name in EXAMPLES:
        page.section("EXAMPLES")
        for number, (about, line) in enumerate(EXAMPLES[name]):
            page.text(about, first=number == 0)
            page.example([line])


def _see_also(page: Page, *others: str) -> None:
    page.section("SEE ALSO")
    page.text(", ".join(others), first=True)


def write(directory: Path, *, with_old_names: bool = False) -> list[Path]:
    """Write all pages below a directory, as man1/… and man5/…; return where."""
    written = []
    for page in pages():
        places = [directory / page.file]
        if with_old_names and page.name.removeprefix("postroom-") in NAMES_OF_OLD:
            places.append(directory / page.file.replace("postroom-", ""))
        for path in places:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page.render(), "utf-8")
        written += places
    return written


def _install(directory: Path, *, with_old_names: bool) -> int:
    try:
        written = write(directory, with_old_names=with_old_names)
    except OSError as error:
        fail(
            f"{error.filename}: {error.strerror}",
            "name a directory that you may write to: postroom man --install ~/.local/share/man",
        )
    print(f"{len(written)} pages are in {directory}")
    return OK
