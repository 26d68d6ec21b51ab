"""docs/rfc.md and the references beside the code say the same."""

from __future__ import annotations

from tools import make_rfc


def test_the_index_and_the_code_agree() -> None:
    wrong = make_rfc.differences()
    hint = "\n('make rfc ARGS=--write' renews the generated part; rows are written by hand)"
    assert not wrong, "\n" + "\n".join(wrong) + hint


def test_every_row_of_the_table_is_read() -> None:
    by_hand = make_rfc.INDEX.read_text("utf-8").partition(make_rfc.MARK)[0]
    rows = [line for line in by_hand.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert len(rows) == len(make_rfc.table()), "a row is doubled or not in the form of the table"
