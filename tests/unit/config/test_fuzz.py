"""Whatever stands in a file, a mistake is a ConfigurationError and nothing else."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from postroom.config.kinds import toml
from postroom.config.loader import load_text
from postroom.config.settings import TABLES
from postroom.core.errors import ConfigurationError
from tests.support.examples import examples

HEADERS = ["", *(f"[{t.name}.{n}]" if t.named else f"[{t.name}]" for t in TABLES[1:] for n in "ab")]
NAMES = [*sorted({setting.name for table in TABLES for setting in table.settings}), "nonsense"]
ODD = [
    "{}", "[]", "[[]]", "nan", "inf", "-1", "0", "9223372036854775808", "1e999", "true", '""',
    "1979-05-27T07:32:00Z", "07:32:00", '"\\uFFFF"', '"9999999999999999999999d"', '"{"', '"::/0"',
    '"[::"', '"[]:1"', '":"', '"a:99999"', '"mx:"', '"exponential 1s x1e9"', '"list"', '"xn--a"',
    '"ß.example"', '"\\u0661.0.0.1:25"', '{ host = [], weight = "x" }', '[{ host = {} }]',
    f'"{"9" * 400} MiB"', f'"{"9" * 400}s"', f'"exponential {"9" * 400}s"', "1" * 5000, "relay",
    '"relay"', '"lmtp"', '"maildir"', '"pipe"', '"~/"', '"/\\u0000"', '"' + "a" * 5000 + '"',
]  # fmt: skip
LINES = st.tuples(st.sampled_from(NAMES), st.sampled_from(ODD) | st.text(max_size=12).map(toml))


def load(text: str) -> None:
    try:
        load_text(text, Path("/nowhere/f.toml"), {"HOME": "/h"}, {})
    except ConfigurationError as error:
        assert str(error)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    load(text)


@examples(300)
@given(st.lists(st.tuples(st.sampled_from(HEADERS[1:]), st.lists(LINES, max_size=4)), max_size=5))
def test_any_settings(tables: list[tuple[str, list[tuple[str, str]]]]) -> None:
    unique = dict(tables)
    load(
        "\n".join(
            f"{header}\n" + "\n".join(f"{name} = {value}" for name, value in dict(lines).items())
            for header, lines in unique.items()
        )
    )


@examples(30)
@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20)))
def test_any_text_in_environment_and_command_line(given_: dict[str, str]) -> None:
    variables = {f"POSTROOM_LISTEN_SMTP_{name.upper()}": text for name, text in given_.items()}
    variables |= {f"POSTROOM_SPOOL_{name.upper()}": text for name, text in given_.items()}
    overrides = {f"route.default.{name}": text for name, text in given_.items()}
    try:
        load_text(None, None, {"HOME": "/h", **variables}, overrides)
    except ConfigurationError as error:
        assert str(error)


def test_deep_nesting_is_refused() -> None:
    for text in ("a = " + "[" * 5000, "a = " + "[" * 400 + "]" * 400, "[" + "a." * 3000 + "b]"):
        load(text)
