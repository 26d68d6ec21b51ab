"""Expressions over replies: what they find, what is refused, what they may cost."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.expressions import TEXT_MAX, Expression


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        (r"^421 4\.7\.28 ", "421 4.7.28 slow down", True),
        (r"^421 4\.7\.28 ", "550 5.7.1 not 421 4.7.28 at all", False),
        (r"too many .*connections$", "421 Too MANY open Connections", True),
        (r"too many .*connections$", "421 too many connections, sorry", False),
        (r"a.*b.*c", "1 a 2 b 3 c", True),
        (r"a.*b.*c", "1 c 2 b 3 a", False),
        (r"\[(TS0[12]|TSS0[4-8])\]", "421 4.7.0 [TSS04] deferred", True),
        (r"x|y.*z|q", "y then z", True),
        (r"x|y.*z|q", "z then y", False),
        (r"(?:very )?slow", "not slow", True),
        (r"RL\d{6}", "421 RL000003", True),
        (r"[]|.*]x", "]x", True),
        (r"\.\*", "a.*b", True),
    ],
)
def test_what_is_found(expression: str, text: str, found: bool) -> None:
    assert Expression(expression).is_in(text) is found


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "1 to 500"),
        ("(a", "no regular expression"),
        ("a" * 501, "1 to 500"),
        ("(a+)+$", "only one character or class"),
        ("(a|b)*", "only one character or class"),
        (r"\d+\w+x", "too many ways"),
        ("(a.*b.*c)", "too many ways"),
        (r"(a)\1", "back-references"),
        ("(?=a)b", "expected ( or (?:"),
        ("(?P<n>a)", "expected ( or (?:"),
        ("(?i)a", "expected ( or (?:"),
        ("a{1,9}+b", "only one character or class"),
        ("a{0,99}a{0,99}b", "too many ways"),
    ],
)
def test_what_could_cost_too_much_is_refused(expression: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Expression(expression)


PIECES = st.sampled_from(
    ["a", "b", ".", ".*", "a*", "[ab]{1,3}", "(a|ab)", "(?:a)?", "|", "^", "$", r"\d+", "b?"]
)


@given(st.lists(PIECES, min_size=1, max_size=6).map("".join), st.text("ab1 ", max_size=12))
def test_what_is_found_is_found_by_a_regular_expression(expression: str, text: str) -> None:
    try:
        found = Expression(expression).is_in(text)
    except ValueError:
        return
    if found:
        assert re.search(expression, text, re.IGNORECASE | re.DOTALL) is not None


def test_the_worst_that_is_allowed_ends_soon() -> None:
    # Beside the cost of an expression with one more repeat: about a hundred times as much.
    started = time.process_time()
    for expression in ("a?a?a?[a-z]*1", "[a-z]*(x|a|b|c|d|e|f|g)1", "a.*" * 150 + "b"):
        assert not Expression(expression).is_in("a" * 10_000)
    assert time.process_time() - started < 2.0


def test_what_stands_far_behind_is_not_looked_at() -> None:
    assert not Expression("end").is_in(" " * TEXT_MAX + "end")
