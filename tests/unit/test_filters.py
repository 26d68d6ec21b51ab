"""What the words of a filter mean, and that they can be written again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.control.filters import (
    FilterError,
    MailFilter,
    parse_filter,
    render,
    split_words,
)
from postroom.core.conditions import Names, NameTest, Range
from postroom.core.ids import QueueId
from postroom.spool.query import HeaderTest, Query
from postroom.spool.store import STATES, Selection
from tests.support.examples import examples

ID = "0000000000000001"


def selection_of(*words: str) -> Selection:
    return parse_filter(words).query.selection


def test_words_become_conditions_that_all_must_hold() -> None:
    words = ["domain=*.example.com", "state=deferred", "age>1h", "age<2d", "queue=2", "sender=<>"]
    assert parse_filter(words, needed=True) == MailFilter(
        Query(
            Selection(
                domain=Names(("*.example.com",)),
                state=Names(("deferred",)),
                sender=Names(("",)),
                age=Range(3600.0, 172800.0),
            )
        ),
        (2,),
    )


def test_one_text_means_what_its_words_mean() -> None:
    words = ["domain=gmail.com", "age>1h", 'reply~"421 4.7"', 'header:X-Campaign="a, b",c']
    assert split_words("  domain=gmail.com age>1h\t" + " ".join(words[2:])) == words
    assert parse_filter(" ".join(words)) == parse_filter(words)
    assert parse_filter(words).query.headers == (HeaderTest("X-Campaign", ("a, b", "c")),)
    # A shell has taken the quotes away already.
    assert selection_of("reply~421 4.7") == selection_of('reply~"421 4.7"')


def test_lists_mean_one_of_these_and_not_equal_means_none_of_these() -> None:
    assert selection_of("domain=a.example,B.example", "domain!=c.example").domain == Names(
        ("a.example", "b.example"), ("c.example",)
    )
    assert selection_of("domain=.a.example").domain == Names(("a.example", "*.a.example"))
    assert selection_of("state!=held,quarantined").state == Names((), ("held", "quarantined"))
    query = parse_filter("channel!=default site={a,b}.mx.example,relay:out tenant= class=bulk"
                         .replace("tenant=", 'tenant=""')).query  # fmt: skip
    assert (query.channel, query.site) == (
        Names((), ("default",)),
        Names(("{a,b}.mx.example", "relay:out")),
    )
    assert (query.tenant, query.mail_class) == (Names(("",)), Names(("bulk",)))
    assert not query.is_stored


def test_numbers_are_compared_strictly_and_durations_as_they_come() -> None:
    assert selection_of("attempts>3").attempts == Range(4.0)
    assert selection_of("attempts>=3", "attempts<9").attempts == Range(3.0, 8.0)
    assert selection_of("attempts=0").attempts == Range(0.0, 0.0)
    assert selection_of("size>1MiB").size == Range(1048577.0)
    assert selection_of("due<10m").due == Range(most=600.0)
    assert selection_of("due<-10m").due == Range(most=-600.0)


def test_a_field_of_the_header_is_there_or_has_a_value_or_has_it_not() -> None:
    headers = parse_filter("header:X-Id header:X-Id=a header:X-Id!=b").query.headers
    assert headers == (
        HeaderTest("X-Id"),
        HeaderTest("X-Id", ("a",)),
        HeaderTest("X-Id", ("b",), True),
    )


def test_quoted_local_parts_stay_whole() -> None:
    assert selection_of('sender="a b"@x.example,c@x.example').sender == Names(
        ('"a b"@x.example', "c@x.example")
    )


def test_ids_stand_alone_or_with_a_name() -> None:
    ids = (QueueId(ID), QueueId(ID[:-1] + "2"))
    assert selection_of(ID, ids[1].upper()).ids == ids
    assert selection_of(f"id={ID},{ids[1]}").ids == ids


def test_everything_is_asked_for_and_never_assumed() -> None:
    assert parse_filter(["all"], needed=True) == MailFilter()
    assert parse_filter([], needed=False) == MailFilter()
    assert render(MailFilter()) == "all"
    with pytest.raises(ValueError, match='"all" means every message'):
        parse_filter([], needed=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "nonsense: selects nothing; expected id=, domain="),
        (["domian=a"], 'domian=a: there is no condition "domian"; expected domain=a.example'),
        (["state=gone"], "waiting, deferred, scheduled, held, quarantined"),
        (["age>soon"], "age>soon: 'soon' is not a duration"),
        (["age=1h"], "age=1h: = says nothing about age; expected age>1h or age<10m"),
        (["attempts>many"], "'many' is no number"),
        (["attempts<0"], "nothing is less than 0"),
        (["size<0"], "nothing is less than 0"),
        (["attempts>999999999"], "no message has more attempts"),
        (["size>large"], "is not a size"),
        (["domain="], "a value is missing"),
        (["domain=a,,b"], "a value is missing"),
        (["domain=a b"], "is no domain"),
        (["domain=a", "domain=b"], "given twice; a list means one of these: domain=A,B"),
        (["age>1h", "age>2h"], "age> is given twice"),
        (["age>2h", "age<1h"], "no message can be within both"),
        (["all", "domain=a"], "stands alone"),
        (["queue=x"], "expected a number"),
        (["queue!=2"], "!= says nothing about queue"),
        (["id=12"], "not a queue id"),
        (["header:=x"], "the name of a field is missing"),
        (["reply~(a+)+"], "only one character or class can be repeated"),
        (["reply~[a"], "no regular expression"),
        (["age>" + "9" * 400 + "s"], "too long for a number"),
        (["domain=" + ",".join(["a"] * 1001)], "more than 1000 values"),
        (["age>1h"] * 201, "more than 200 words"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(FilterError) as error:
        parse_filter(words, needed=True)
    assert said in str(error.value)


def test_a_quote_that_is_not_closed_is_told() -> None:
    with pytest.raises(FilterError, match="a quote is not closed"):
        parse_filter('reply~"421')


VALUES = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NAMES = st.builds(Names, *[st.lists(VALUES, max_size=3, unique=True).map(tuple) for _ in range(2)])
PLAIN = st.from_regex(r"[a-z*][a-z0-9.*-]{0,8}", fullmatch=True)
DOMAINS = st.builds(Names, *[st.lists(PLAIN, max_size=3, unique=True).map(tuple) for _ in range(2)])
ADDRESSES = st.builds(
    Names,
    *[
        st.lists(VALUES.filter(lambda one: "<" not in one and ">" not in one), max_size=3,
                 unique=True).map(tuple)
        for _ in range(2)
    ],
)  # fmt: skip
STATE_NAMES = st.builds(
    Names, *[st.lists(st.sampled_from(STATES), max_size=3, unique=True).map(tuple)] * 2
)


def ranges(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Range]:
    return st.tuples(st.none() | numbers, st.none() | numbers).map(
        lambda two: Range(*two) if None in two else Range(*sorted(two))  # type: ignore[type-var]
    )


REPLIES = ["421 4.7", 'say "no", \\d', "a\\\\"]
WHOLE = st.integers(0, 10**8).map(float)
TIMES = st.integers(0, 10**9).map(float) | st.integers(0, 10**9).map(lambda one: one / 1000)
QUERIES = st.builds(
    Query,
    st.builds(
        Selection,
        ids=st.sampled_from([(), (QueueId(ID),)]),
        domain=DOMAINS, recipient=ADDRESSES, sender=ADDRESSES, state=STATE_NAMES,
        age=ranges(TIMES), due=ranges(TIMES | TIMES.map(lambda one: -one)),
        attempts=ranges(WHOLE), size=ranges(WHOLE),
        reply=st.lists(st.sampled_from(REPLIES), max_size=2).map(tuple),
        not_reply=st.sampled_from([(), ("x y",)]),
    ),
    channel=NAMES, site=NAMES, tenant=NAMES, mail_class=NAMES,
    headers=st.lists(
        st.builds(
            HeaderTest, st.sampled_from(["X-Id", "List-Id"]),
            st.lists(VALUES, min_size=1, max_size=3).map(tuple), st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
)  # fmt: skip
FILTERS = st.builds(
    MailFilter, QUERIES, st.lists(st.integers(1, 64), max_size=3, unique=True).map(tuple)
)


@given(FILTERS)
@examples(400)
def test_what_is_written_is_read_again_the_same(which: MailFilter) -> None:
    text = render(which)
    assert parse_filter(text) == which
    assert parse_filter(split_words(text)) == which


@given(st.text(max_size=60))
@examples(400)
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    try:
        which = parse_filter(text)
    except FilterError as error:
        assert error.expected
    else:
        assert parse_filter(render(which)) == which


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
@examples(600)
def test_a_star_is_anything(pattern: str, text: str) -> None:
    import re

    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None
    assert NameTest(Names((pattern,))).accepts(text.upper()) == expected
    assert NameTest(Names((), (pattern,))).accepts(text) == (not expected)


@pytest.mark.parametrize(
    "text", ["domain=..a", "domain=.", "domain=a\udcff", "reply~\udcff", 'header:X="\udce9"']
)
def test_what_is_no_domain_and_no_text_is_refused(text: str) -> None:
    with pytest.raises(FilterError):
        parse_filter(text)


@pytest.mark.parametrize("text", ["sender=<<a>>", "recipient=<,<>,>", "sender=<<>>"])
def test_brackets_of_an_address_of_its_own_are_written_too(text: str) -> None:
    assert parse_filter(render(parse_filter(text))) == parse_filter(text)
