"""The questions asked all the time walk an index, so they cost the same at ten million rows."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from postroom.spool.embedded.control import _SETTLE, _text
from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.layout import QueueLayout, create_queue
from postroom.spool.embedded.reads import _NEXT_DUE, due_query
from postroom.spool.embedded.schema import connect
from postroom.spool.store import DueKey


def plan_of(tmp_path: Path, statement: str, values: object) -> str:
    create_queue(RealDisk(), tmp_path / "queue1", uuid.uuid4())
    connection = connect(RealDisk(), QueueLayout(tmp_path / "queue1").control)
    rows = connection.execute("EXPLAIN QUERY PLAN " + statement, values).fetchall()  # type: ignore[arg-type]
    connection.close()
    return "\n".join(str(row[3]) for row in rows)


@pytest.mark.parametrize(
    ("after", "domains", "without", "expected"),
    [
        (None, (), (), "USING COVERING INDEX recipient_due (due_at<?)"),
        (
            DueKey(1.0, "a", 0),
            (),
            ("x", "y"),
            "USING COVERING INDEX recipient_due ((due_at,message_id,idx)>(?,?,?) AND due_at<?)",
        ),
        (
            DueKey(1.0, "a", 0),
            ("x", "y"),
            (),
            "USING COVERING INDEX recipient_due ((due_at,message_id,idx)>(?,?,?) AND due_at<?)",
        ),
        (
            DueKey(1.0, "a", 0),
            ("x",),
            (),
            "USING COVERING INDEX recipient_domain (domain=? AND held=? AND"
            " (due_at,message_id,idx)>(?,?,?) AND due_at<?)",
        ),
    ],
)
def test_due_walks_an_index_and_looks_at_what_it_returns(  # type: ignore[no-untyped-def]
    tmp_path: Path, after, domains, without, expected
) -> None:
    plan = plan_of(tmp_path, *due_query(9.0, 100, after, domains, without))
    assert expected in plan.replace("(due_at>? AND due_at<?)", "(due_at<?)"), plan
    assert "SCAN recipient" not in plan, plan
    assert "SEARCH r USING PRIMARY KEY (message_id=? AND idx=?)" in plan
    assert "SEARCH m USING PRIMARY KEY (id=?)" in plan
    # Only what is returned is put in order; the walk itself needs no sorting.
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan.replace(
        "USE TEMP B-TREE FOR json_group_array(ORDER BY)", ""
    )


def test_next_due_is_one_look_at_the_index(tmp_path: Path) -> None:
    assert "recipient_due (due_at>?)" in plan_of(tmp_path, _NEXT_DUE, (1.0,))


def test_settling_looks_recipients_up(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, _text(_SETTLE, 3), [0] * 24)
    assert "SEARCH recipient USING PRIMARY KEY (message_id=? AND idx=?)" in plan, plan
