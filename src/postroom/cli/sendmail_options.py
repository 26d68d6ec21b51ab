"""The command line of `sendmail`, as other programs have used it for decades.

Options may stand together (-ti), carry their value in the same word (-fa@example.org) or
in the next. What has no meaning here is taken and ignored, so that old programs work.

Called by: cli.sendmail.  Raises: UsageError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from postroom.client.submission import parse_notify
from postroom.core.errors import PostroomError


class UsageError(PostroomError):
    """The command line is wrong; EX_USAGE."""


_WITH_VALUE = "fFrBNRVLoXCDOhpMxbqd"
"""Options that carry a value; for b, q, o, d, p and M only the same word is looked at."""
_VALUE_IN_WORD = "bqodpM"
_FLAGS = "tivnGcesUAmIk"
_MODES = "mspdDtiavhHP"
_LONG = {
    "--hold-for": "hold_for", "--hold-until": "hold_until", "--priority": "priority",
    "--deliver-within": "deliver_within", "--late": "late",
}  # fmt: skip
"""Options of our own."""

HELP: tuple[tuple[str, str], ...] = (
    ("-t", "recipients from To, Cc and Bcc (or their Resent- forms) too; Bcc is removed"),
    ("-i, -oi", "a line that is a dot does not end the message"),
    ("-f ADDRESS, -r ADDRESS", "the reverse-path; `<>` is the null reverse-path"),
    ("-F NAME", "full name for a From field that is added"),
    ("-B 7BIT|8BITMIME", "taken; what the content needs is seen from the content"),
    ("-N WORDS", "NOTIFY: `never`, or some of `success,failure,delay` (RFC 3461)"),
    ("-R full|hdrs, -V ENVID", "RET and ENVID (RFC 3461)"),
    ("--hold-for TIME, --hold-until MOMENT", "send it later"),
    ("--priority N", "-9 to 9, more is more urgent"),
    ("--deliver-within TIME, --late notify|return", "a deadline, and what becomes of late mail"),
    ("-bm", "deliver a message: the default"),
    ("-bs", "SMTP on standard input and output"),
    ("-bp", "list the queues: `postroom mailq`"),
    ("-q…", "make all mail due now: `postroom mail run all`"),
    ("-v", "print the queue id"),
    ("-C FILE.toml", "configuration file"),
    ("-G -n -m -e -o -O -X -L -p -h -U …", "taken and ignored"),
)
"""What the options mean, for the documentation."""


@dataclass(slots=True)
class SendmailOptions:
    """What the command line asks for.

    `mode` is the letter of -b: "m" deliver, "s" SMTP on standard input, "p" list the
    queue, "q" run it. `sender` None means the user who calls.
    """

    mode: str = "m"
    sender: str | None = None
    full_name: str = ""
    from_header: bool = False
    dot_is_content: bool = False
    verbose: bool = False
    body: str = ""
    notify: str = ""
    ret: str = ""
    envid: str = ""
    config: str = ""
    hold_for: str = ""
    hold_until: str = ""
    priority: str = "0"
    deliver_within: str = ""
    late: str = ""
    recipients: list[str] = field(default_factory=list)


def parse_options(words: Sequence[str]) -> SendmailOptions:
    """Return what a command line (without the program's name) means."""
    options = SendmailOptions()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            options.recipients += rest
            break
        name, equals, value = word.partition("=")
        if name in _LONG:
            if not equals:
                if not rest:
                    raise UsageError(f"{name} needs a value")
                value = rest.pop(0)
            setattr(options, _LONG[name], value)
            continue
        if not word.startswith("-") or word == "-":
            options.recipients.append(word)
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _WITH_VALUE:
                value, letters = letters, ""
                if not value and letter not in _VALUE_IN_WORD:
                    if not rest:
                        raise UsageError(f"-{letter} needs a value")
                    value = rest.pop(0)
                _take(options, letter, value)
            elif letter in _FLAGS:
                _set(options, letter)
            else:
                raise UsageError(f"unknown option -{letter}")
    return options


def _set(options: SendmailOptions, letter: str) -> None:
    match letter:
        case "t":
            options.from_header = True
        case "i":
            options.dot_is_content = True
        case "v":
            options.verbose = True


def _take(options: SendmailOptions, letter: str, value: str) -> None:
    match letter:
        case "f" | "r":
            options.sender = value.strip().removeprefix("<").removesuffix(">")
        case "F":
            options.full_name = value
        case "B":
            options.body = value.upper()
            if options.body not in ("7BIT", "8BITMIME"):
                raise UsageError(f"-B {value}: expected 7BIT or 8BITMIME")
        case "N":
            try:
                parse_notify(value)
            except ValueError as error:
                raise UsageError(f"-N {value}: {error}") from error
            options.notify = value
        case "R":
            options.ret = value.upper()
            # RFC 3461 §4.3: RET is FULL or HDRS.
            if options.ret not in ("FULL", "HDRS"):
                raise UsageError(f"-R {value}: expected full or hdrs")
        case "V":
            options.envid = value
        case "o":
            # -oi is all of the one-letter options of old that still means something.
            options.dot_is_content |= value in ("i", "i1", "iTrue")
        case "O":
            name, _, setting = value.partition("=")
            if name.strip().lower() == "ignoredots":
                options.dot_is_content |= setting.strip().lower() in ("", "true", "yes", "1")
        case "C":
            options.config = value
        case "b":
            _set_mode(options, value)
        case "q":
            options.mode = "q"


def _set_mode(options: SendmailOptions, value: str) -> None:
    if len(value) != 1 or value not in _MODES:
        raise UsageError(f"-b{value}: expected -bm, -bs or -bp")
    if value not in "msp":
        hint = "start the server with: postroom serve" if value in "dD" else "not offered"
        raise UsageError(f"-b{value}: {hint}")
    options.mode = value
