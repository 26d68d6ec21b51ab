"""`postroom`: the entry of every command, and the one place where errors become exit codes.

Called under the name `sendmail` or `mailq` (a link is enough) it is that command.
Called by: the installed scripts.  Raises: nothing; returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from postroom import __version__
from postroom.cli.output import CommandFailed, print_json
from postroom.core.errors import ConfigurationError, PostroomError

OWN_PARSERS = ("sendmail", "sink")


def main(argv: Sequence[str] | None = None) -> int:
    """Do a command line; return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        name = Path(sys.argv[0]).name
        if name in ("sendmail", "postroom-sendmail"):
            return sendmail_main()
        if name in ("mailq", "postroom-mailq"):
            words = ["mailq", *words]
    from postroom.cli.parser import build_parser

    words, rest = _divided(words)
    options = build_parser().parse_args(words)
    options.words = rest
    module, _, function = options.does.partition(":")
    try:
        code: int = getattr(importlib.import_module(f"postroom.cli.{module}"), function)(options)
        sys.stdout.flush()
        return code
    except CommandFailed as error:
        return _tell(str(error), error.hint, error.code)
    except ConfigurationError as error:
        return _tell(str(error), "", 78)
    except BrokenPipeError:
        # The reader (head, less) has enough. Nothing more may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except PostroomError as error:
        return _tell_of(error)


def _divided(words: list[str]) -> tuple[list[str], list[str]]:
    """Divide before the words that belong to a command with a parser of its own."""
    index = 0
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] in ("--config", "--set") else 1
    if index < len(words) and words[index] in OWN_PARSERS:
        return words[: index + 1], words[index + 1 :]
    return words, []


def sendmail_main() -> int:
    """Be `sendmail`."""
    from postroom.cli.sendmail import main as run

    return run()


def sendmail(options: argparse.Namespace) -> int:
    """`postroom sendmail …`."""
    from postroom.cli.sendmail import main as run

    return run(options.words, options.config or "")


def sink(options: argparse.Namespace) -> int:
    """`postroom sink …`: a parser and a server of their own."""
    from postroom.sink.command import add_arguments, run

    parser = argparse.ArgumentParser(prog="postroom sink")
    add_arguments(parser)
    return run(parser.parse_args(options.words))


def version(options: argparse.Namespace) -> int:
    """`postroom version`."""
    if options.json:
        print_json({"version": __version__})
    else:
        print(f"postroom {__version__}")
    return 0


def _tell_of(error: PostroomError) -> int:
    """Say what went wrong on the way to the server, or in a queue."""
    from postroom.cli.reach import exit_code
    from postroom.control.protocol import ControlError

    if isinstance(error, ControlError):
        return _tell(error.error, error.hint, exit_code(error))
    return _tell(str(error), "", 1)


def _tell(text: str, hint: str, code: int) -> int:
    for line in text.splitlines():
        print(f"postroom: {line}{f'; {hint}' if hint else ''}", file=sys.stderr)
    return code
