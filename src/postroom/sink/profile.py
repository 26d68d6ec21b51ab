"""What a sink plays: sites, and the rules of each.

A profile is a TOML file, or options of the command line that use the same words. A rule is
one line: at which command, for which address, what happens.

    rcpt=*@refused.example reply=550 5.1.1 No such user
    rcpt=*@grey.example greylist=30s
    mail percent=10 delay=2s reply=451 4.3.0 Try later
    content drop

Called by: sink.command, tests.  Raises: ValueError that says what was expected.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib

import msgspec

from postroom.core.units import parse_duration

COMMANDS = ("connect", "ehlo", "mail", "rcpt", "data", "content", "quit")
"""Where a rule can act. `content` is the end of the data, `connect` the greeting."""

RULE_FORM = (
    "a rule reads 'COMMAND[=PATTERN] [percent=N] [first=N] [delay=TIME] [greylist=TIME] "
    "[drop] [reply=CODE TEXT]'"
)
_REPLY = re.compile(r"[2-5]\d\d( [ -~]*)?\Z")
_GREYLISTED = "451 4.7.1 Greylisted, come back later"


class Rule(msgspec.Struct, frozen=True):
    """One thing that a site does.

    `pattern` is compared without case with the recipient (rcpt), the reverse-path (mail,
    data, content) or the client's address or name (connect, ehlo); `*` matches anything.
    It acts in `percent` of the cases, and only the `first` times (0: always). Then the
    session waits `delay_s`, and is dropped, or answers `reply` (None: as without a rule).
    With `greylist_s` the reply is given only until that time after the first attempt.
    """

    command: str
    pattern: str = "*"
    percent: float = 100.0
    first: int = 0
    delay_s: float = 0.0
    greylist_s: float = 0.0
    drop: bool = False
    reply: str | None = None

    def matches(self, subject: str) -> bool:
        """Say whether the rule is about this address or name."""
        return self.pattern == "*" or fnmatch.fnmatchcase(subject.lower(), self.pattern)


class Site(msgspec.Struct, frozen=True):
    """One remote site: where it listens and how it behaves.

    The first rule that matches and acts wins; delays of several add up to that one only.
    `tarpit_s` is waited before every reply. After `messages_max` messages a connection is
    ended with 421 (0: never); beyond `connections_max` simultaneous ones a client is
    greeted with 421 (0: any number). `strict` refuses a bare CR or LF in content.
    """

    name: str = "sink"
    listen: tuple[str, ...] = ("127.0.0.1:2526",)
    hostname: str = "sink.example"
    rules: tuple[Rule, ...] = ()
    tarpit_s: float = 0.0
    messages_max: int = 0
    connections_max: int = 0
    size_limit_octets: int = 100 * 1024 * 1024
    extensions: tuple[str, ...] = (
        "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES",
    )  # fmt: skip
    strict: bool = False


class Profile(msgspec.Struct, frozen=True):
    """All sites of one sink; `seed` makes what happens by chance repeatable."""

    sites: tuple[Site, ...] = (Site(),)
    seed: int = 0


def parse_rule(text: str) -> Rule:
    """Return the rule that a line says."""
    first_word, _, rest = text.strip().partition(" ")
    command, _, pattern = first_word.partition("=")
    if command not in COMMANDS:
        raise ValueError(f"{text!r}: {command!r} is none of {', '.join(COMMANDS)}; {RULE_FORM}")
    fields: dict[str, object] = {"command": command, "pattern": (pattern or "*").lower()}
    while rest := rest.strip():
        word, _, rest = rest.partition(" ")
        name, _, value = word.partition("=")
        if name == "reply":
            # The reply is the rest of the line.
            fields["reply"] = f"{value} {rest}".strip()
            if not _REPLY.match(str(fields["reply"])):
                raise ValueError(f"{text!r}: a reply is three digits and ASCII text; {RULE_FORM}")
            break
        fields.update(_action(text, name, value))
    if fields.get("greylist_s") and "reply" not in fields:
        fields["reply"] = _GREYLISTED
    return msgspec.convert(fields, Rule)


def _action(text: str, name: str, value: str) -> dict[str, object]:
    """Return the fields of a Rule that one word of it sets."""
    try:
        match name:
            case "drop" if not value:
                return {"drop": True}
            case "delay" | "greylist":
                return {f"{name}_s": parse_duration(value)}
            case "percent":
                return {"percent": float(value)}
            case "first":
                return {"first": int(value)}
    except ValueError as error:
        raise ValueError(f"{text!r}: {name}: {error}") from None
    raise ValueError(f"{text!r}: {name!r} is not understood; {RULE_FORM}")


def parse_profile(text: str) -> Profile:
    """Return the profile that a TOML text describes.

    `seed = 1`, then one table `[site.NAME]` for each site with `listen` (a list of
    "host:port"), `rules` (a list of lines as above), and `tarpit`, `messages_max`,
    `connections_max`, `hostname`, `size_limit_octets`, `extensions`, `strict`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from None
    unknown = document.keys() - {"seed", "site"}
    if unknown:
        raise ValueError(
            f"{sorted(unknown)[0]!r} is not known at the top; use seed and [site.NAME]"
        )
    sites = []
    for name, table in document.get("site", {}).items():
        sites.append(_site(name, dict(table)))
    if not sites:
        raise ValueError("no site: write at least one table [site.NAME]")
    return Profile(tuple(sites), msgspec.convert(document.get("seed", 0), int))


def _site(name: str, table: dict[str, object]) -> Site:
    fields: dict[str, object] = {"name": name}
    try:
        rules = msgspec.convert(table.pop("rules", []), tuple[str, ...])
        fields["rules"] = tuple(parse_rule(line) for line in rules)
        if "tarpit" in table:
            fields["tarpit_s"] = parse_duration(str(table.pop("tarpit")))
        unknown = table.keys() - set(Site.__struct_fields__)
        if unknown:
            raise ValueError(f"{sorted(unknown)[0]!r} is not known")
        return msgspec.convert({**table, **fields}, Site, from_attributes=True)
    except (ValueError, msgspec.ValidationError) as error:
        raise ValueError(f"[site.{name}]: {error}") from None
