"""The words of the filter language: its conditions, and how their values are written.

Owns the one table of conditions, which the error texts, the help and the completion of shells
are made of.

Called by: control.filters, cli.parser, cli.completion.  Raises: FilterError.
"""

from __future__ import annotations

import msgspec

ALL = "all"
HEADER = "header:"
DURATIONS = ("age", "due")
TEXT_MAX = 64 * 1024
"""Longer than what anybody writes; a request to the control socket takes more."""
WORDS_MAX = 200
ITEMS_MAX = 1000
NUMBER_CHARACTERS_MAX = 60
_EXACT_MAX = 2.0**52

_IS = ("=", "!=")
_BOUNDS = (">", "<", ">=", "<=")


class FilterError(ValueError):
    """A word that means nothing: the word, what is wrong with it, and what was expected."""

    def __init__(self, word: str, problem: str, expected: str) -> None:
        super().__init__(f"{f'{word}: ' if word else ''}{problem}; expected {expected}")
        self.word = word
        self.problem = problem
        self.expected = expected


class FilterField(msgspec.Struct, frozen=True):
    """One condition: its name, what may stand behind it, and an example of each use."""

    name: str
    operators: tuple[str, ...]
    expected: str
    help: str


FIELDS: dict[str, FilterField] = {
    one.name: one
    for one in (
        FilterField("id", ("=",), "id=ID,ID", "these messages; an id alone means the same"),
        FilterField(
            "domain", _IS, "domain=a.example, domain=*.a.example or domain!=a.example",
            "a recipient's domain; .a.example is the domain and all below it",
        ),
        FilterField(
            "recipient", _IS, "recipient=ann@a.example or recipient=*@a.example",
            "a recipient's address",
        ),
        FilterField(
            "sender", _IS, "sender=*@news.example, or sender=<> for the null one",
            "the reverse-path",
        ),
        FilterField(
            "state", _IS, "state= or state!= with some of waiting, deferred, scheduled, held,"
            " quarantined", "what a recipient waits for",
        ),
        FilterField("age", _BOUNDS, "age>1h or age<10m", "time since it arrived"),
        FilterField("due", _BOUNDS, "due<10m or due>1h", "time until it may be tried next"),
        FilterField(
            "attempts", (*_BOUNDS, "="), "attempts>3 or attempts=0",
            "how often a recipient was tried",
        ),
        FilterField("size", (*_BOUNDS, "="), "size>1MiB or size<20KiB", "length of the content"),
        FilterField("channel", _IS, "channel=bulk or channel!=default", "by the rules in force"),
        FilterField("site", _IS, "site=mx.a.example or site=relay:out", "where it is tried"),
        FilterField("tenant", _IS, 'tenant=acme, or tenant="" for none', "whose mail it is"),
        FilterField("class", _IS, "class=bulk or class!=bulk", "the class that it belongs to"),
        FilterField(
            "reply", ("~", "!~"), 'reply~"421 4.7" (a regular expression)',
            "what the last reply has in it",
        ),
        FilterField(
            HEADER, _IS, "header:X-Campaign, header:X-Campaign=spring* or header:X-Campaign!=bulk",
            "a field of the header; read last, for it costs most",
        ),
        FilterField("queue", ("=",), "queue=2 or queue=1,3", "only these queues"),
    )
}  # fmt: skip


def known_fields(like: str = "") -> str:
    """Return what may be written, the one that is alike first."""
    names = [f"{one.name}{one.operators[0]}" for one in FIELDS.values() if one.name != HEADER]
    names.append("header:NAME")
    if like:
        from difflib import get_close_matches

        if close := get_close_matches(like.rstrip(":"), FIELDS, 1):
            return f"{FIELDS[close[0]].expected} perhaps; or {', '.join(names)}, an id, or {ALL}"
    return f"{', '.join(names)}, an id, or {ALL}"


def items_of(value: str, *, lists: bool = True, braces: bool = False) -> list[str]:
    """Return the items of a list; an item that stands in double quotes is taken as it is.

    `braces`: commas between { and } divide nothing, as in the names of sites.
    """
    items: list[str] = []
    item, depth, is_quoted, is_escaped = "", 0, False, False
    for character in value:
        if lists and character == "," and not is_quoted and not (braces and depth):
            items.append(_unquoted(item))
            item = ""
            continue
        item += character
        if is_escaped:
            is_escaped = False
        elif is_quoted:
            is_escaped = character == "\\"
            is_quoted = character != '"'
        elif character == '"':
            is_quoted = True
        elif character in "{}":
            depth = max(0, depth + (1 if character == "{" else -1))
    items.append(_unquoted(item))
    return items


def _unquoted(item: str) -> str:
    """Return an item without quotes around the whole of it; an empty one must have them."""
    if not item:
        raise ValueError('a value is missing; "" is the empty one')
    if len(item) < 2 or item[0] != '"' or item[-1] != '"':
        return item
    text, at, last = "", 1, len(item) - 1
    while at < last:
        character = item[at]
        if character == '"':
            return item  # quoted in part, as the local part of an address may be
        if character == "\\" and item[at + 1] in '"\\':
            if at + 1 == last:
                return item  # the last quote is escaped: it closes nothing
            at += 1
            character = item[at]
        text += character
        at += 1
    return text


def quoted(text: str, *, lists: bool = True, braces: bool = False) -> str:
    """Return a text as an item that `items_of` gives back, in a word of its own."""
    is_plain = bool(text) and not any(one.isspace() or one == '"' for one in text)
    if is_plain:
        try:
            # Another one behind it shows whether a brace is left open.
            beside = f"{text},x" if lists else text
            is_plain = items_of(beside, lists=lists, braces=braces)[0] == text
        except ValueError:
            is_plain = False
    if is_plain:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written_duration(seconds: float) -> str:
    """Return a duration as `parse_duration` reads it, exactly."""
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    if left != int(left) or left > _EXACT_MAX:
        from decimal import Decimal

        return f"{sign}{Decimal(repr(left)):f}s"
    whole, text = int(left), ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if whole >= size:
            text += f"{whole // size}{unit}"
            whole %= size
    return sign + (text or "0s")
