"""The view as values: cells, rows, keys and frames, without a terminal."""

from __future__ import annotations

import msgspec
import pytest

from postroom.cli.top.cells import age, number, rate, trend
from postroom.cli.top.deeds import Deed
from postroom.cli.top.frame import HELP, frame, table_lines
from postroom.cli.top.sheet import COLUMNS, SORTS, TABS, Sheet, sheet_of
from postroom.cli.top.state import Ask, Quit, State
from postroom.cli.top.terminal import keys_of
from postroom.control.answers import ChannelStatus, RelayStatus, SourceStatus
from postroom.control.overview import Overview
from postroom.control.rates import History, Rate
from postroom.control.troubles import troubles
from postroom.engine.views import HostState, QueueTenant, Stored
from postroom.spool.queue_state import QueueState
from tests.unit.control.overviews import NOW, answer, channel, overview, queue, server, site

REST = "the site rests: it could not be used"


def everything() -> Overview:
    view = server(
        queue(1), queue(2, queue_state=QueueState.HELD, state="suspended"),
        channels=(
            ChannelStatus("bulk", "running", concurrency=10, site_concurrency=5),
            ChannelStatus("stopped", "suspended", "by an operator", concurrency=9),
            ChannelStatus("default", "running", concurrency=100, site_concurrency=20),
        ),
        relays=(RelayStatus("out", "a.example:25", 70, 1, "weighted", "up"),),
        sources=(SourceStatus("ip1", "ready"),),
    )  # fmt: skip
    one = answer(
        1,
        channels=(channel("bulk", in_flight=3, ready=9, stored=Stored(12, 3, 2, 1), binds="full"),),
        sites=(
            site("bulk", "mx.one.example", in_flight=3, waiting=9, recipients=12),
            site("bulk", "mx.two.example", binds=REST, rests_until=NOW + 60, rest_reply="421 no",
                 hosts=(HostState("mx.two.example:25", "open"),)),
        ),
        tenants=(QueueTenant("shop", ready=3),),
    )  # fmt: skip
    found = overview(view, one, answer(2))
    return msgspec.structs.replace(found, troubles=troubles(found))


def sheet(state: State, found: Overview | None = None) -> Sheet:
    return sheet_of(
        state.place.tab, found or everything(), History(), state.sort, state.text,
        is_reversed=state.is_reversed,
    )  # fmt: skip


def press(state: State, *keys: str, found: Overview | None = None) -> object:
    wish: object = None
    for key in keys:
        wish = state.press(key, sheet(state, found), 10)
    return wish


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9999, "9999"), (12_345, "12k"), (1_234_567, "1.2M"), (25_000_000, "25M")],
)
def test_a_number_is_short(value: float, text: str) -> None:
    assert number(value) == text


def test_a_rate_that_is_not_zero_is_not_shown_as_zero() -> None:
    assert [rate(value) for value in (0, 0.01, 0.5, 42, 1234)] == [
        "0",
        "<0.1",
        "0.5",
        "42.0",
        "1234",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, ""),
        (0.2, "1s"),
        (59, "59s"),
        (61, "1m01"),
        (3599, "60m"),
        (7260, "2h01"),
        (90000, "1d01"),
    ],
)
def test_an_age_is_short(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_a_trend_shows_the_newest_to_the_right_and_all_that_is_not_zero() -> None:
    series = [Rate(out=value) for value in (0, 1, 50, 100)]
    assert trend(series) == "▁▂▅█" and trend([]) == "" and trend([Rate()]) == "▁"


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("size", [(80, 24), (40, 8), (200, 50), (81, 10)])
def test_a_frame_fits_any_terminal(tab: str, size: tuple[int, int]) -> None:
    state = State(tab)
    lines = frame(state, sheet(state), everything(), History(), size)
    assert len(lines) == size[1] and all(line.cell_len <= size[0] for line in lines)


def test_every_row_has_a_cell_for_each_column_and_every_tab_its_orders() -> None:
    for tab in TABS:
        for name, _ in SORTS[tab]:
            found = sheet_of(tab, everything(), History(), name)
            assert found.rows and all(len(row.cells) == len(COLUMNS[tab]) for row in found.rows)


def test_help_fits_the_smallest_usual_terminal() -> None:
    assert len(HELP.splitlines()) <= 18 and max(map(len, HELP.splitlines())) <= 80


def test_a_selected_row_stays_selected_when_rows_move() -> None:
    state = State("channels")
    press(state, "s", "down")  # by backlog: bulk first
    chosen = state.selected
    press(state, "r")
    after = sheet(state)
    assert after.rows[state.index(after)].key == chosen != ""


def test_the_way_down_and_back_up() -> None:
    state = State()
    assert isinstance(press(state, "enter"), Ask)
    assert (state.place.tab, state.place.queue) == ("channels", 1)
    press(state, "down", "enter")  # what is suspended comes first
    assert (state.place.tab, state.place.channel) == ("sites", "bulk")
    assert state.args.channel == "bulk"
    press(state, "down", "enter")
    assert (state.place.tab, state.place.site) == ("messages", "mx.one.example")
    assert state.place.words == "queue1 > channel bulk > mx.one.example"
    press(state, "esc", "left", "backspace")
    assert (state.place.tab, state.way, state.selected) == ("queues", [], "queue1")


def test_a_filter_is_typed_and_sites_are_sought_by_the_workers() -> None:
    state = State("sites")
    assert press(state, "/", "t", "w", "x", "backspace", "o", "enter") == Ask()
    assert state.text == "two" and state.args.text == "two"
    state = State("channels")
    press(state, "/", "b", "u", "l", "k", "enter")
    assert [row.key for row in sheet(state).rows] == ["bulk"] and state.args.text == ""
    press(state, "esc")
    assert state.text == "" and len(sheet(state).rows) == 3


def test_nothing_is_done_without_a_yes() -> None:
    state = State("channels")
    assert press(state, "h") is None and state.deed is None, "it is suspended already"
    assert press(state, "down", "h") is None and state.deed is not None
    assert state.deed.question.startswith("Suspend channel bulk")
    assert press(state, "n") is None and state.deed is None
    deed = press(state, "h", "y")
    assert isinstance(deed, Deed) and deed.steps[0].command == "channel suspend"


@pytest.mark.parametrize(
    ("tab", "keys", "commands"),
    [
        ("queues", "h", ["queue hold"]),
        ("queues", "ju", ["queue enable"]),
        ("channels", "u", ["channel resume"]),
        ("sites", "p", ["relay purge", "site purge"]),
        ("relays", "p", ["relay purge"]),
        ("sources", "h", ["source pause"]),
        ("sources", "u", ["source resume"]),
    ],
)
def test_keys_do_what_help_says(tab: str, keys: str, commands: list[str]) -> None:
    state = State(tab)
    deed = press(state, *keys, "y")
    assert isinstance(deed, Deed) and [step.command for step in deed.steps] == commands


def test_what_cannot_be_done_here_is_said() -> None:
    state = State("tenants")
    assert press(state, "h") is None and state.deed is None and "? for help" in state.note


def test_leaving_and_standing_still() -> None:
    state = State()
    press(state, " ")
    assert state.is_paused
    assert press(state, "?", "q") == Quit() and press(State(), "q") == Quit()


def test_what_strangers_wrote_cannot_draw_on_the_terminal() -> None:
    bad = site("bulk", "mx.one.example", binds=REST, rests_until=NOW + 9, rest_reply="421 \x1b[2Jx")
    found = overview(server(), answer(sites=(bad,)))
    found = msgspec.structs.replace(found, troubles=troubles(found))
    for tab in ("sites", "troubles", "queues"):
        state = State(tab)
        lines = frame(state, sheet(state, found), found, History(), (200, 24))
        assert not any("\x1b" in line.plain for line in lines)


def test_many_rows_scroll_with_the_selection() -> None:
    rows = tuple(site(name=f"s{number:03}.example", recipients=number) for number in range(90))
    found = overview(None, answer(sites=rows), limit=200)
    state = State("sites")
    size = (80, 24)
    press(state, "G", found=found)
    lines = frame(state, sheet(state, found), found, History(), size)
    assert any("s000.example" in line.plain for line in lines)
    assert not any("s089.example" in line.plain for line in lines)
    press(state, *["pageup"] * 9, found=found)
    lines = frame(state, sheet(state, found), found, History(), size)
    assert any("s089.example" in line.plain for line in lines) and table_lines(size) == 18


def test_keys_arrive_in_pieces_over_a_slow_line() -> None:
    assert keys_of(b"\x1b[Aj\x1b[5~", is_all=False) == (["up", "j", "pageup"], b"")
    assert keys_of(b"q\x1b[", is_all=False) == (["q"], b"\x1b[")
    assert keys_of(b"\x1b[B", is_all=False) == (["down"], b"")
    assert keys_of(b"\x1b", is_all=False) == ([], b"\x1b")
    assert keys_of(b"\x1b", is_all=True) == (["esc"], b"")
    assert keys_of(b"\x1b[200~x", is_all=False) == (["x"], b"")
    assert keys_of("ü".encode()[:1], is_all=False) == ([], "ü".encode()[:1])
    assert keys_of("ü\r\t\x7f".encode(), is_all=False) == (["ü", "enter", "tab", "backspace"], b"")
