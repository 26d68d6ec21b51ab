"""What programs wish for their mail, as values and as words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from postroom.cli.sendmail import Refused, compose
from postroom.cli.sendmail_options import UsageError, parse_options
from postroom.client.wishes import Wish, terms_of
from postroom.core.terms import Terms

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, None),
        ({"hold_for": "", "hold_until": ""}, None),
        ({"hold_for": "1h 30m"}, Terms(NOW + 5400, 5400)),
        ({"hold_for": 60}, Terms(NOW + 60, 60)),
        ({"deliver_within": "1h"}, Terms(deliver_by=NOW + 3600, by_mode="N")),
        (
            {"hold_for": 60, "deliver_within": 60, "late": "return"},
            Terms(NOW + 60, 60, 0, NOW + 120, "R"),
        ),
        ({"priority": 0}, None),
        ({"priority": -9}, Terms(priority=-9)),
        ({"hold_for": 60, "priority": 4}, Terms(NOW + 60, 60, 4)),
        ({"hold_until": "2027-01-01T00:00Z"}, Terms(NEW_YEAR)),
        ({"hold_until": "2027-01-01T01:00:00+01:00"}, Terms(NEW_YEAR)),
        ({"hold_until": NEW_YEAR}, Terms(NEW_YEAR)),
        (
            {"hold_until": datetime(2027, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))},
            Terms(NEW_YEAR),
        ),
    ],
)
def test_a_wish_becomes_terms(wish: Wish, expected: Terms | None) -> None:
    assert terms_of(NOW, wish) == expected


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"hold_for": "1h", "hold_until": NEW_YEAR}, "one of them"),
        ({"hold_for": "soon"}, "not a duration"),
        ({"hold_for": -5}, "a time to come"),
        ({"priority": 10}, "from -9 to 9"),
        ({"deliver_within": -1}, "a time to come"),
        ({"late": "return"}, "deliver_within"),
        ({"deliver_within": 60, "late": "never"}, "return or notify"),
        ({"hold_until": "2027-01-01T00:00"}, "time zone"),
        ({"hold_until": "2027-01-01"}, "time zone"),
        ({"hold_until": datetime(2027, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"hold_until": "2020-01-01T00:00Z"}, "a time to come"),
    ],
)
def test_what_is_no_time_to_come_is_refused_with_its_reason(wish: Wish, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        terms_of(NOW, wish)


def test_sendmail_has_long_options_for_it() -> None:
    content = b"Subject: x\r\n\r\nx\r\n"
    for words in (["--hold-for", "1h", "b@x.org"], ["b@x.org", "--hold-for=1h"]):
        envelope, _ = compose(parse_options(words), content, "host.example", "anna")
        assert envelope.terms is not None and envelope.terms.hold_for_s == 3600
    envelope, _ = compose(parse_options(["--priority=4", "b@x.org"]), content, "h.example", "anna")
    assert envelope.terms == Terms(priority=4)
    with pytest.raises(UsageError):
        parse_options(["b@x.org", "--hold-until"])
    with pytest.raises(Refused, match="time zone"):
        options = parse_options(["--hold-until=tomorrow", "b@x.org"])
        compose(options, content, "host.example", "anna")
