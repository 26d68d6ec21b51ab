"""The filter language: which messages a command is about, in words.

    ID ...                      these messages
    domain=a.example,b.example  recipient=*@a.example  sender=<>     names; * is anything
    state=waiting,held          channel=  site=  tenant=  class=     and with != all others
    age>1h  age<10m  due<10m    attempts>3  size>1MiB                ranges
    reply~"421 4.7"             header:X-Campaign=NAME
    queue=2                     only that queue
    all                         everything: asked for, never assumed

All words must hold; a list means one of these. One text (a line of a form, `q=` of an address)
means what its words mean; double quotes keep spaces and commas in a value. `render` is the way
back.

Guarantees: parse_filter(render(one)) == one, for everything that parse_filter returns.
Called by: cli, whoever else talks to the control socket.  Raises: FilterError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from postroom.control.filter_words import (
    ALL,
    DURATIONS,
    FIELDS,
    HEADER,
    ITEMS_MAX,
    NUMBER_CHARACTERS_MAX,
    TEXT_MAX,
    WORDS_MAX,
    FilterError,
    items_of,
    known_fields,
    quoted,
    written_duration,
)
from postroom.core.conditions import EVERYWHERE, Names, Range
from postroom.core.ids import QueueId, parse_queue_id
from postroom.core.units import parse_duration, parse_size
from postroom.spool.query import HeaderTest, Query
from postroom.spool.store import STATES, Selection

_NAMES = {
    "domain": "domain", "recipient": "recipient", "sender": "sender", "state": "state",
    "channel": "channel", "site": "site", "tenant": "tenant", "class": "mail_class",
}  # fmt: skip
_OF_QUERY = ("channel", "site", "tenant", "mail_class")
ATTEMPTS_MAX = 999_999_999
_RANGES = ("age", "due", "attempts", "size")


class MailFilter(msgspec.Struct, frozen=True):
    """A query, and the queues it is asked of (none: all)."""

    query: Query = Query()
    queues: tuple[int, ...] = ()


def parse_filter(words: Sequence[str] | str, *, needed: bool = False) -> MailFilter:
    """Return what words, or a text of words, mean.

    `needed`: no words is a mistake, everything is "all".
    """
    if isinstance(words, str):
        words = split_words(words)
    if not words and needed:
        raise FilterError("", 'say which messages; "all" means every message', known_fields())
    if len(words) > WORDS_MAX:
        raise FilterError("", f"more than {WORDS_MAX} words", "fewer; lists take many values")
    reading = _Reading()
    for word in words:
        if not _is_text(word):
            raise FilterError(ascii(word), "it is no text in UTF-8", "characters of UTF-8")
        if word == ALL:
            if len(words) > 1:
                raise FilterError(word, '"all" stands alone', "all, or conditions")
        else:
            reading.take(word)
    return reading.meaning()


def _is_text(word: str) -> bool:
    """Say whether a word is made of characters: a shell passes on any octets."""
    try:
        return word.isascii() or bool(word.encode())
    except UnicodeEncodeError:
        return False


def split_words(text: str) -> list[str]:
    """Return the words of a text, with their quotes."""
    if len(text) > TEXT_MAX:
        raise FilterError("", f"longer than {TEXT_MAX} characters", "a shorter filter")
    words: list[str] = []
    word, is_quoted, is_escaped = "", False, False
    for character in text:
        if not is_quoted and character.isspace():
            if word:
                words.append(word)
            word = ""
            continue
        word += character
        if is_escaped:
            is_escaped = False
        elif is_quoted and character == "\\":
            is_escaped = True
        elif character == '"':
            is_quoted = not is_quoted
    if is_quoted:
        raise FilterError(word, "a quote is not closed", 'a second "')
    return [*words, word] if word else words


_WORD = re.compile(
    r"(header:[A-Za-z0-9_.-]*|[A-Za-z_]+)(!=|!~|<=|>=|=|<|>|~)(.*)\Z", re.DOTALL | re.IGNORECASE
)
_PRESENT = re.compile(r"header:([A-Za-z0-9_.-]+)\Z", re.IGNORECASE)


class _Reading:
    """What the words read so far mean."""

    def __init__(self) -> None:
        self._ids: list[QueueId] = []
        self._queues: list[int] = []
        self._any: dict[str, tuple[str, ...]] = {}
        self._none: dict[str, tuple[str, ...]] = {}
        self._ranges: dict[str, Range] = {}
        self._replies: list[str] = []
        self._not_replies: list[str] = []
        self._headers: list[HeaderTest] = []

    def take(self, word: str) -> None:
        """Add what one word means; raises FilterError."""
        found = _WORD.match(word)
        if found is None:
            self._take_bare(word)
            return
        name, operator, value = found[1].lower(), found[2], found[3]
        field = FIELDS.get(HEADER if name.startswith("header:") else name)
        if field is None:
            raise FilterError(word, f'there is no condition "{found[1]}"', known_fields(name))
        if operator not in field.operators:
            raise FilterError(word, f"{operator} says nothing about {field.name}", field.expected)
        if not value:
            raise FilterError(word, "a value is missing", field.expected)
        try:
            self._take_value(found[1], name, operator, value)
        except FilterError:
            raise
        except ValueError as error:
            raise FilterError(word, str(error), field.expected) from None

    def _take_bare(self, word: str) -> None:
        if present := _PRESENT.match(word):
            self._headers.append(HeaderTest(present[1]))
            return
        try:
            self._ids.append(parse_queue_id(word.lower()))
        except ValueError:
            raise FilterError(word, "selects nothing", known_fields(word.lower())) from None

    def _take_value(self, spelt: str, name: str, operator: str, value: str) -> None:
        is_not = operator.startswith("!")
        if name in _RANGES:
            bounds = _range(name, operator, value)
            before = self._ranges.get(name, Range())
            self._ranges[name] = _joined(name, before, bounds)
        elif name == "reply":
            from postroom.core.expressions import Expression

            (text,) = items_of(value, lists=False)
            Expression(text)
            (self._not_replies if is_not else self._replies).append(text)
        elif name.startswith("header:"):
            field_name = spelt.partition(":")[2]
            if not field_name:
                raise ValueError("the name of a field is missing")
            self._headers.append(HeaderTest(field_name, tuple(_some(value)), is_not))
        elif name == "id":
            self._ids += [parse_queue_id(text.lower()) for text in _some(value)]
        elif name == "queue":
            self._queues += [parse_queue(text) for text in _some(value)]
        else:
            key = _NAMES[name]
            meant = self._none if is_not else self._any
            if key in self._any and not is_not:
                raise ValueError(f"given twice; a list means one of these: {name}=A,B")
            read = _READ.get(name, _as_they_are)
            items = read(_some(value, braces=name == "site"))
            # None of these, and none of those, is none of both.
            meant[key] = tuple(dict.fromkeys([*meant.get(key, ()), *items]))

    def meaning(self) -> MailFilter:
        """Return what all words mean."""
        names, ranges = self._names, self._ranges
        selection = Selection(
            ids=tuple(dict.fromkeys(self._ids)),
            domain=names("domain"), recipient=names("recipient"), sender=names("sender"),
            state=names("state"),
            age=ranges.get("age", EVERYWHERE), due=ranges.get("due", EVERYWHERE),
            attempts=ranges.get("attempts", EVERYWHERE), size=ranges.get("size", EVERYWHERE),
            reply=tuple(self._replies), not_reply=tuple(self._not_replies),
        )  # fmt: skip
        query = Query(
            selection, names("channel"), names("site"), names("tenant"), names("mail_class"),
            tuple(self._headers),
        )  # fmt: skip
        return MailFilter(query, tuple(dict.fromkeys(self._queues)))

    def _names(self, key: str) -> Names:
        return Names(self._any.get(key, ()), self._none.get(key, ()))


def _some(value: str, *, braces: bool = False) -> list[str]:
    items = items_of(value, braces=braces)
    if len(items) > ITEMS_MAX:
        raise ValueError(f"more than {ITEMS_MAX} values")
    return items


def _domains(items: list[str]) -> list[str]:
    domains: list[str] = []
    for one in items:
        domain = one.lower()
        # A leading dot: the domain and all below it.
        below = domain.startswith(".")
        name = domain[1:] if below else domain
        if not name or name[0] == "." or "@" in name or any(map(str.isspace, name)):
            raise ValueError(f"{one!r} is no domain")
        domains += [name, f"*{domain}"] if below else [name]
    return domains


def _addresses(items: list[str]) -> list[str]:
    return ["" if one == "<>" else one.removeprefix("<").removesuffix(">") for one in items]


def _states(items: list[str]) -> list[str]:
    for one in items:
        if one.lower() not in STATES:
            raise ValueError(f"there is no state {one!r}")
    return [one.lower() for one in items]


def _as_they_are(items: list[str]) -> list[str]:
    return items


_READ: dict[str, Callable[[list[str]], list[str]]] = {
    "domain": _domains, "recipient": _addresses, "sender": _addresses, "state": _states,
}  # fmt: skip


def _range(name: str, operator: str, value: str) -> Range:
    (text,) = items_of(value, lists=False)
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise ValueError("that is too long for a number")
    if name in DURATIONS:
        # Whether the bound is inside matters to nobody: moments are never equal.
        sign = -1.0 if name == "due" and text.startswith("-") else 1.0
        bound = sign * round(parse_duration(text.removeprefix("-") if name == "due" else text), 6)
        return Range(bound) if operator.startswith(">") else Range(most=bound)
    if name == "attempts":
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise ValueError(f"{text!r} is no number")
        number = int(text)
        if operator == ">" and number >= ATTEMPTS_MAX:
            raise ValueError(f"no message has more attempts than {ATTEMPTS_MAX}")
    else:
        number = parse_size(text)
    if operator == "<" and number == 0:
        raise ValueError("nothing is less than 0")
    match operator:
        case ">":
            return Range(number + 1.0)
        case ">=":
            return Range(float(number))
        case "<":
            return Range(most=number - 1.0)
        case "<=":
            return Range(most=float(number))
        case _:
            return Range(float(number), float(number))


def _joined(name: str, one: Range, other: Range) -> Range:
    for side, left, right in (
        (">", one.least, other.least),
        ("<", one.most, other.most),
    ):
        if left is not None and right is not None:
            raise ValueError(f"{name}{side} is given twice")
    both = Range(
        one.least if other.least is None else other.least,
        one.most if other.most is None else other.most,
    )
    if both.least is not None and both.most is not None and both.least > both.most:
        raise ValueError("no message can be within both bounds")
    return both


def parse_queue(text: str) -> int:
    """Return the number of a queue, from "2" or "queue2"."""
    digits = text.lower().removeprefix("queue")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError("expected a number")
    return int(digits)


def render(which: MailFilter) -> str:
    """Return a text that means the same; "all" where everything is meant."""
    query, selection = which.query, which.query.selection
    words: list[str] = [*selection.ids]
    for name, key in _NAMES.items():
        names: Names = getattr(query if key in _OF_QUERY else selection, key)
        for operator, some in (("=", names.any_of), ("!=", names.none_of)):
            if some:
                words.append(f"{name}{operator}{','.join(_spelt(name, one) for one in some)}")
    for name in _RANGES:
        words += _range_words(name, getattr(selection, name))
    words += [f"reply~{quoted(text, lists=False)}" for text in selection.reply]
    words += [f"reply!~{quoted(text, lists=False)}" for text in selection.not_reply]
    for test in query.headers:
        if test == HeaderTest(test.name):
            words.append(f"header:{test.name}")
        else:
            values = ",".join(quoted(one) for one in test.values)
            words.append(f"header:{test.name}{'!=' if test.is_not else '='}{values}")
    if which.queues:
        words.append(f"queue={','.join(map(str, which.queues))}")
    return " ".join(words) or ALL


def _spelt(name: str, value: str) -> str:
    if name in ("sender", "recipient") and (not value or value[0] == "<" or value[-1] == ">"):
        # Brackets around an address mean nothing, so one that has its own gets them twice.
        value = f"<{value}>"
    return quoted(value, braces=name == "site")


def _range_words(name: str, wanted: Range) -> list[str]:
    if name in DURATIONS:
        write: Callable[[float], str] = written_duration
    else:
        write = _whole
    least = [] if wanted.least is None else [f"{name}>={write(wanted.least)}"]
    return least + ([] if wanted.most is None else [f"{name}<={write(wanted.most)}"])


def _whole(number: float) -> str:
    return str(int(number))
