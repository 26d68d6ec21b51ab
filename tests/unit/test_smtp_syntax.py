"""The grammar of addresses in SMTP commands."""

from __future__ import annotations

import re
import time

import pytest

from postroom.smtp import syntax


def test_compiling_the_grammar_is_no_matter_for_the_start_of_a_process() -> None:
    # A class with a range up to U+10FFFF takes the compiler a hundred times as long.
    begun = time.process_time()
    for pattern in (syntax._MAIL, syntax._RCPT):
        re._compiler.compile(pattern.pattern, pattern.flags)  # type: ignore[attr-defined]
    assert time.process_time() - begun < 0.1


@pytest.mark.parametrize(
    ("character", "allowed"),
    [
        ("!", True), ("~", True), ("-", True), ("_", True), ("`", True), ("\u00a0", True),
        ("\U0010ffff", True), (" ", False), ("(", False), (")", False), (",", False),
        (":", False), (";", False), ("<", False), ("[", False), ("]", False), ("\\", False),
        ("\x00", False), ("\x1f", False), ("\x7f", False), ("\x80", False), ("\x9f", False),
    ],
)  # fmt: skip
def test_an_atom_holds_what_the_rfcs_allow_and_nothing_else(character: str, allowed: bool) -> None:
    matched = re.fullmatch(syntax._ATOM, character) is not None
    assert matched is allowed


def test_words_of_commands_are_matched_without_case() -> None:
    assert syntax._RCPT.match("to:<PostMaster>")
    assert syntax._MAIL.match("fRoM:<>")
