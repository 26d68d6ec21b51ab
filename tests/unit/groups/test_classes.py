"""The class of a message is found from what it brings; classes of one priority share a rank."""

from __future__ import annotations

from postroom.groups.classes import ClassPolicy, ClassTable

SHOP = ClassPolicy("shop", 1, users=("shop",), senders=("orders@example.com",))
LISTS = ClassPolicy("lists", 8, 0.1, senders=(".lists.example",), listeners=("bulk",))
REPORTS = ClassPolicy("reports", 8, 0.05, reports=True)
TABLE = ClassTable((SHOP, LISTS, REPORTS, ClassPolicy()))


def test_a_class_is_found_by_sender_listener_user_and_the_null_reverse_path() -> None:
    assert TABLE.rank("a@b.example", "smtp", "shop") == 0
    assert TABLE.rank("orders@EXAMPLE.com", "smtp", "") == 0
    assert TABLE.rank("a@b.example", "smtp", "") == 1
    assert TABLE.rank("x@de.lists.example", "smtp", "") == 2
    assert TABLE.rank("a@b.example", "bulk", "") == 2
    assert TABLE.rank("", "smtp", "") == 2


def test_the_first_class_of_the_file_wins_and_is_told_with_its_rule() -> None:
    assert TABLE.rank("", "smtp", "shop") == 0
    assert str(TABLE.reason("", "smtp", "")) == 'class reports: reports "<>"'
    assert str(TABLE.reason("", "bulk", "")) == 'class lists: listener "bulk"'
    assert str(TABLE.reason("a@b.example", "", "")) == (
        "class default: takes what no other class does"
    )


def test_ranks_have_the_shares_of_their_classes_and_one_priority_is_one_rank() -> None:
    assert TABLE.shares == (0.05, 0.05, 0.15000000000000002)
    single = ClassTable((ClassPolicy("a", 5, users=("x",)), ClassPolicy()))
    assert single.is_single and single.rank("", "", "x") == 0 and len(single.shares) == 1


def test_a_class_may_be_of_mail_that_asks_for_priority() -> None:
    urgent = ClassPolicy("urgent", 1, mt_priority=4, origin="f.toml:9")
    slow = ClassPolicy("slow", 9, mt_priority=-4)
    table = ClassTable((SHOP, urgent, slow, ClassPolicy()))
    ranks = [table.rank("a@b.example", "", "", priority) for priority in (9, 4, 3, 0, -3, -4, -9)]
    assert ranks == [0, 0, 1, 1, 1, 2, 2]
    assert str(table.reason("a@b.example", "", "", 5)) == 'class urgent (f.toml:9): mt_priority "4"'
    assert table.reason("a@b.example", "", "shop", -9).group.name == "shop", "the first one wins"
    later = ClassTable((urgent, SHOP, ClassPolicy()))
    assert later.reason("a@b.example", "", "shop", 9).group.name == "urgent"
