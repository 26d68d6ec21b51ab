"""The command line of `sendmail`, which any program of this machine may choose.

Input: words, separated by zero octets.

1. A meaning or UsageError that says what is wrong, never another exception.
2. Nothing after `--` is an option, and no word becomes a recipient that an option took.
3. A mode is one that is offered; RET, NOTIFY and BODY hold what their RFCs allow.
"""

from __future__ import annotations

from postroom.cli.sendmail_options import UsageError, parse_options
from postroom.client.submission import parse_notify
from tests.fuzz.target import Target, spelt

WORDS_MAX = 60


def try_one(octets: bytes) -> None:
    """See the module."""
    words = octets.decode("utf-8", "surrogateescape").split("\0")[:WORDS_MAX]
    try:
        options = parse_options(words)
    except UsageError as error:
        assert str(error)
        return
    assert options.mode in ("m", "s", "p", "q")
    assert options.ret in ("", "FULL", "HDRS") and options.body in ("", "7BIT", "8BITMIME")
    if options.notify:
        parse_notify(options.notify)
    assert len(options.recipients) <= len(words) and set(options.recipients) <= set(words)
    beyond = [*words, "--", "-t", "--priority", "-bs"]
    try:
        more = parse_options(beyond)
    except UsageError:
        raise AssertionError("words after -- were taken for options") from None
    # A second -- is no option; whether one that stands in `words` is the first depends on whether
    # an option took it.
    ends = (["-t", "--priority", "-bs"], ["--", "-t", "--priority", "-bs"])
    assert more.recipients in [[*options.recipients, *end] for end in ends]
    assert (more.mode, more.from_header) == (options.mode, options.from_header)


TARGET = Target(
    "sendmail-options",
    try_one,
    ["postroom.cli.sendmail_options", "postroom.client.submission"],
    seeds=[
        b"-ti",
        b"-oi\0-fa@example.org\0--\0b@example.org",
        b"-F\0Some Body\0-f\0<>\0-N\0success,delay\0-R\0hdrs\0-V\0x\0c@example.org",
        b"--priority=3\0--hold-for\x001h\0--late\0return\0d@example.org",
        b"-bs",
        b"-q30m\0-C\0/etc/postroom.toml",
        b"-OIgnoreDots=true\0-B8bitmime\0-v",
    ],
    words=spelt(
        r"-- | - | -b | -bp | -bd | -f | -N | never | -R | full | -O | = | \0 | --late= | \xff"
    ),
)
