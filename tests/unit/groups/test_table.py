"""Mail belongs to the first group that names it, recipient by recipient."""

from __future__ import annotations

from postroom.core.message import Envelope, Provenance, Recipient
from postroom.groups.policy import GroupPolicy
from postroom.groups.table import GroupTable, shadowed

BULK = GroupPolicy(
    "bulk", (3,), senders=("news@Example.com", ".lists.example"), listeners=("bulk",)
)
GERMAN = GroupPolicy("german", (4,), match=(".de", "müller.example", "*.at.*"), origin="f:7")
VIP = GroupPolicy("vip", (5,), users=("boss",), match=("bank.de",))
DEFAULT = GroupPolicy()
TABLE = GroupTable((BULK, GERMAN, VIP, DEFAULT))


def group(domain: str, sender: str = "a@b.example", listener: str = "smtp", user: str = "") -> str:
    return TABLE.reason(domain, sender, listener, user).group.name


def test_each_kind_of_rule_pins_mail_to_its_group() -> None:
    assert group("gmail.com") == "default"
    assert group("web.de") == group("WEB.DE.") == group("de") == "german"
    assert group("MÜLLER.example") == group("xn--mller-kva.example") == "german"
    assert group("mx.at.example") == "german"
    assert group("gmail.com", "news@EXAMPLE.com") == "bulk"
    assert group("gmail.com", "News@example.com") == "default", "local parts have case"
    assert group("gmail.com", "x@de.lists.example") == "bulk"
    assert group("gmail.com", listener="bulk") == "bulk"
    assert group("gmail.com", user="boss") == "vip"
    assert group("gmail.com", sender="") == "default"


def test_the_first_group_of_the_file_wins_whatever_kind_of_rule_it_has() -> None:
    assert group("web.de", user="boss") == "german"
    assert group("web.de", "news@example.com", user="boss") == "bulk"
    assert group("bank.de") == "german"


def test_the_reason_names_rule_and_place() -> None:
    reason = TABLE.reason("web.de", "", "", "")
    assert str(reason) == 'group german (f:7): recipients ".de"'
    assert str(TABLE.reason("x.org", "", "", "")) == (
        "group default: takes what no other group does"
    )


def test_a_message_for_several_groups_is_split_and_keeps_the_order() -> None:
    names = ("a@web.de", "b@x.org", "c@gmx.de", "d@y.org")
    envelope = Envelope("a@b.example", tuple(map(Recipient, names)))
    parts = TABLE.split(envelope, Provenance(listener="smtp"))
    assert [(one.name, indexes) for one, indexes in parts] == [
        ("german", (0, 2)),
        ("default", (1, 3)),
    ]
    [(whole, indexes)] = TABLE.split(envelope, Provenance(listener="bulk"))
    assert whole.name == "bulk" and indexes == (0, 1, 2, 3)


def test_rules_that_can_never_match_are_told() -> None:
    twice = GroupPolicy(
        "twice", (6,), match=("web.de", ".de", "x.org"), senders=(".lists.example",)
    )
    lines = shadowed((BULK, GERMAN, twice, DEFAULT))
    assert lines == [
        'group twice: recipients "web.de" can never match: group german (f:7): recipients ".de" '
        "comes first",
        'group twice: recipients ".de" can never match: group german (f:7): recipients ".de" '
        "comes first",
        'group twice: sender ".lists.example" can never match: group bulk: sender '
        '".lists.example" comes first',
    ]
    assert shadowed((BULK, GERMAN, DEFAULT)) == []
