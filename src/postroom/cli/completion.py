"""`postroom completion bash`: completion made from the parser.

Called by: cli.main, tests.  Raises: nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from postroom.cli.output import OK
from postroom.cli.parser import build_parser

FILTER_WORDS = "all domain= recipient= sender= state=waiting state=deferred state=held queue="

LIMIT_WORDS = "concurrency= per_site.concurrency="

_SCRIPT = """\
# Completion of postroom for bash:  eval "$(postroom completion bash)"
_postroom() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} path="" index=1 candidate
    while (( index < COMP_CWORD )); do
        candidate=${{COMP_WORDS[index]}}
        case $candidate in
            --config|--set) (( index += 1 )) ;;
            -*) ;;
            *) case "$path $candidate" in
{known}
                esac ;;
        esac
        (( index += 1 ))
    done
    if [[ ${{COMP_WORDS[COMP_CWORD-1]}} == --config ]]; then
        COMPREPLY=($(compgen -f -- "$word"))
        return
    fi
    case $path in
{words}
    esac
}}
complete -o default -F _postroom postroom
"""


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    print(script(), end="")
    return OK


def script() -> str:
    """Return the script for bash."""
    paths = dict(walk(build_parser()))
    known = "\n".join(
        f'                    "{" ".join(path[:-1])} {path[-1]}") path="{" ".join(path)}" ;;'
        for path in paths
        if path
    )
    words = "\n".join(
        f'        "{" ".join(path)}") COMPREPLY=($(compgen -W "{" ".join(choices)}" -- "$word")) ;;'
        for path, choices in paths.items()
    )
    return _SCRIPT.format(known=known, words=words)


def walk(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Give each command's path and the words that may follow it."""
    words: list[str] = []
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        words += [text for text in action.option_strings if text.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):
            below = dict(action.choices)
            words += below
        elif action.choices and not action.option_strings:
            words += [str(choice) for choice in action.choices]
        elif action.dest == "limit" and action.nargs == "+":
            words += LIMIT_WORDS.split()
        elif action.dest == "filter":
            words += FILTER_WORDS.split()
    yield path, words
    for name, child in below.items():
        yield from walk(child, (*path, name))
