"""Expressions over replies, whose cost is known before they are used.

A reply is what a stranger wrote, and a regular expression can be made to try for hours. So this
takes a part of that language, in which an expression is found or not within some milliseconds,
whatever the text is:

    repeats       of one character or class: `*`, `+`, `{1,9}`; of a group only `?`
    .*            divides: what stands before it is found first, what stands behind it after that
    (a|b), (?:a)  groups; no look-around, no back-references, no names
    WAYS_MAX      so many ways an expression may be tried at one place of the text

Case does not matter; `.` is anything.

Pure.  Guarantees: the cost grows with the product of WAYS_MAX and the length of a text at most.
Called by: shaping.replies, config.rule_files, spool.selection, control.filters.
Raises: ValueError that says what to write instead.
"""

from __future__ import annotations

import re

TEXT_MAX = 512
"""Characters of a reply that are looked at: what it is about stands at its beginning."""
EXPRESSION_MAX = 500
WAYS_MAX = 4096
"""One open repeat (TEXT_MAX ways) beside a few choices; two of them would be 64 times as many."""

_REPEAT = re.compile(r"\{(\d*)(,?)(\d*)\}")
_GROUP = re.compile(r"\((?:\?:)?")


class Expression:
    """One expression, ready to be looked for."""

    __slots__ = ("_alternatives",)

    def __init__(self, text: str) -> None:
        if not text or len(text) > EXPRESSION_MAX:
            raise ValueError(f"expected an expression of 1 to {EXPRESSION_MAX} characters")
        try:
            re.compile(text)
        except re.error as error:
            at = f" at character {error.pos + 1}" if error.pos is not None else ""
            raise ValueError(f"no regular expression: {error.msg}{at}") from None
        except (OverflowError, RecursionError):
            raise ValueError("no regular expression: too large") from None
        self._alternatives = tuple(
            tuple(re.compile(part, re.IGNORECASE | re.DOTALL) for part in parts if part)
            for parts in _Reader(text).alternatives()
        )

    def is_in(self, text: str) -> bool:
        """Say whether it is found in a text, of which the first TEXT_MAX characters count."""
        for parts in self._alternatives:
            at = 0
            for part in parts:
                found = part.search(text, at, TEXT_MAX)
                if found is None:
                    break
                at = found.end()
            else:
                return True
        return False


class _Reader:
    """Divides an expression at `|` and `.*` outside of groups, and counts its ways."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ways = 1
        self._choices: list[int] = []
        """Of each group that is open."""
        self._after = ""
        """What stands before this place and may be repeated: "atom", "group" or ""."""

    def alternatives(self) -> list[list[str]]:
        found: list[list[str]] = [[]]
        start = 0
        text = self._text
        while self._at < len(text):
            here = self._at
            if not self._choices and text[here] == "|":
                found[-1].append(text[start:here])
                found.append([])
                self._at = start = here + 1
                self._ways, self._after = 1, ""
            elif not self._choices and text.startswith(".*", here):
                found[-1].append(text[start:here])
                self._at = here + (3 if text.startswith(".*?", here) else 2)
                if text.startswith("+", self._at):
                    raise ValueError(f"{text[here : here + 3]}: {_NO_REPEAT}")
                start = self._at
                self._ways, self._after = 1, ""
            else:
                self._step()
        found[-1].append(text[start:])
        return found

    def _step(self) -> None:
        """Go over one element."""
        text, here = self._text, self._at
        character = text[here]
        if character == "\\":
            self._escape()
        elif character == "[":
            self._class()
        elif character == "(":
            opening = _GROUP.match(text, here)
            assert opening is not None
            if text.startswith("?", opening.end()):
                raise ValueError(f"{text[here : here + 4]}: expected ( or (?: as a group")
            self._choices.append(1)
            self._at, self._after = opening.end(), ""
        elif character == ")":
            self._multiply(self._choices.pop())
            self._at, self._after = here + 1, "group"
        elif character == "|":
            self._choices[-1] += 1
            self._at, self._after = here + 1, ""
        elif character in "*+?" or (character == "{" and _REPEAT.match(text, here)):
            self._repeat()
        else:
            self._at, self._after = here + 1, "" if character in "^$" else "atom"

    def _escape(self) -> None:
        following = self._text[self._at + 1]
        if following.isdigit() and following != "0":
            raise ValueError(f"\\{following}: back-references cost too much; write it out")
        self._at += 2
        self._after = "" if following in "bBAZ" else "atom"

    def _class(self) -> None:
        text, at = self._text, self._at + 1
        at += text.startswith("^", at)
        at += text.startswith("]", at)  # the first one stands for itself
        while text[at] != "]":
            at += 2 if text[at] == "\\" else 1
        self._at, self._after = at + 1, "atom"

    def _repeat(self) -> None:
        text, here = self._text, self._at
        if text[here] == "{":
            found = _REPEAT.match(text, here)
            assert found is not None
            least, comma, most = found.groups()
            lowest = int(least or 0)
            open_ended = bool(comma) and not most
            ways = TEXT_MAX if open_ended else (int(most) if comma else lowest) - lowest + 1
            self._at = found.end()
            is_optional = (least, comma, most) == ("0", ",", "1")
        else:
            ways = 2 if text[here] == "?" else TEXT_MAX
            self._at = here + 1
            is_optional = text[here] == "?"
        if self._after == "group" and not is_optional:
            raise ValueError(f"{text[here:][:6]}: {_NO_REPEAT}")
        self._multiply(ways)
        if text.startswith("?", self._at):
            self._at += 1  # as little as possible: found all the same
        elif text.startswith("+", self._at):
            raise ValueError(f"{text[here:][:6]}: {_NO_REPEAT}")
        self._after = ""

    def _multiply(self, ways: int) -> None:
        self._ways *= max(1, ways)
        if self._ways > WAYS_MAX:
            raise ValueError(
                r"too many ways to try it: use \d{1,3} for \d+, .* between two parts, or fewer "
                "repeats and choices"
            )


_NO_REPEAT = "only one character or class can be repeated, and a group be optional (?)"
