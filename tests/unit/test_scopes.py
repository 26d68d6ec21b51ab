"""What was seen of a limit is reckoned with right."""

from __future__ import annotations

from tests.support.scopes import Call, Scope, mail_of, reckon


def test_what_the_sites_saw_above_a_limit_is_a_violation() -> None:
    calls = [
        Call("busy1", 0.0, 9.0, "a.example", [(1.0, 2.0), (3.0, 4.0)]),
        Call("busy2", 1.0, 9.0, "a.example", [(1.5, 2.0)]),
        Call("busy1", 2.0, 9.0, "b.example", [(3.0, 4.0)]),
    ]

    def found(of: str, limit: int, group: str = "", interval_s: float = 0.0) -> tuple[int, int]:
        scope = Scope("", of, limit, mail_of(group=group), interval_s)
        row = reckon("", scope, calls)
        return row.peak, row.violations

    assert found("connections", 3) == (3, 0) and found("connections", 2) == (3, 1)
    assert found("connections", 1, "a") == (2, 1)
    assert found("attempts", 2) == (2, 0) and found("attempts", 1) == (2, 2)
    assert found("messages", 4, interval_s=4.0) == (4, 0)
    assert found("messages", 2, interval_s=4.0)[1] > 0
