"""Settings from the environment and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.config.loader import Loaded, load_text
from postroom.config.model import Config
from postroom.core.errors import ConfigurationError
from postroom.routing.policy import RelayHost, RelayRoute


def environment(text: str = "", **variables: str) -> Loaded:
    return load_text(text, Path("/d/f.toml"), {"HOME": "/h", **variables}, {"hostname": "a.b"})


def command_line(**overrides: str) -> Config:
    spelled = {name.replace("__", "."): text for name, text in overrides.items()}
    return load_text(None, None, {"HOME": "/h"}, spelled).config


@pytest.mark.parametrize("text", ["127.0.0.1:26,[::1]:26", '["127.0.0.1:26", "[::1]:26"]'])
def test_an_array_is_given_with_commas_or_as_toml(text: str) -> None:
    config = command_line(listen__smtp__address=text)
    assert config.listen[0].address == ("127.0.0.1:26", "[::1]:26")
    assert command_line(listen__smtp__address="[::1]:26").listen[0].address == ("[::1]:26",)


def test_a_container_is_configured_by_its_environment_alone() -> None:
    loaded = environment(
        POSTROOM_LISTEN_SMTP_ADDRESS="0.0.0.0:25",
        POSTROOM_LISTEN_SMTP_RELAY_FROM="172.16.0.0/12",
        POSTROOM_LISTEN_SMTP_IDLE_TIMEOUT="90",
        POSTROOM_LISTEN_SMTP_SIZE_LIMIT="10 MiB",
        POSTROOM_LISTEN_SMTP_AUTH_PLAINTEXT_LOOPBACK="yes",
        POSTROOM_ROUTE_DEFAULT_TYPE="relay",
        POSTROOM_ROUTE_DEFAULT_HOST="mail.internal",
        POSTROOM_CHANNEL_DEFAULT_PER_SITE_CONCURRENCY="3",
        POSTROOM_SPOOL_COMPACT_BELOW="0.5",
    )
    listen = loaded.config.listen[0]
    assert (listen.address, listen.relay_from) == (("0.0.0.0:25",), ("172.16.0.0/12",))
    assert (listen.idle_timeout_s, listen.size_limit_octets) == (90.0, 10 << 20)
    assert listen.auth_plaintext_loopback
    assert loaded.config.routes["default"] == RelayRoute("default", (RelayHost("mail.internal"),))
    assert loaded.config.channels[-1].site_concurrency == 3
    assert loaded.config.spool.compact_below == 0.5
    assert not loaded.warnings


def test_a_wrong_variable_is_named_in_the_mistake() -> None:
    with pytest.raises(ConfigurationError) as caught:
        environment(POSTROOM_SPOOL_COUNT="many", QUEUE_START="x")
    first, second = str(caught.value).splitlines()
    assert first.startswith('environment POSTROOM_SPOOL_COUNT: spool.count: "many" is not')
    assert second.startswith('environment QUEUE_START: spool.start: "x" is not')


def test_a_variable_that_fits_no_setting_is_a_warning_with_a_hint() -> None:
    loaded = environment(POSTROOM_SPOOL_CUONT="3", POSTROOM_SERVICE_HOST="10.0.0.1")
    hints = [warning for warning in loaded.warnings if "POSTROOM_SPOOL_CUONT" in warning]
    assert hints[0].endswith('did you mean "POSTROOM_SPOOL_COUNT"?')
    assert len(loaded.warnings) == 2


def test_an_empty_variable_counts_as_not_set() -> None:
    assert environment(POSTROOM_SPOOL_COUNT="", QUEUE_COUNT="").sources["spool.count"] == "default"


def test_the_environment_finds_tables_of_the_file_by_name() -> None:
    text = '[listen.sub-one]\naddress = "127.0.0.1:1"'
    config = environment(text, POSTROOM_LISTEN_SUB_ONE_ERRORS_MAX="5").config
    assert config.listen[0].errors_max == 5


def test_the_command_line_can_make_a_table() -> None:
    config = command_line(route__out__type="discard", channel__default__route="out")
    assert set(config.routes) == {"default", "out"}


def test_relative_paths_are_relative_to_where_they_are_written() -> None:
    assert environment("[spool]\nbase = 'x'").config.spool.base == "/d/x"
    assert environment(POSTROOM_SPOOL_BASE="x").config.spool.base == str(Path.cwd() / "x")
    assert environment("[spool]\nbase = '~/x'").config.spool.base == "/h/x"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("spol.count", 'did you mean "spool"?'),
        ("spool.cuont", 'did you mean "count"?'),
        ("listen.address", "expected listen.NAME.SETTING"),
        ("listen.smtp", "expected listen.NAME.SETTING"),
        ("spool", "unknown setting"),
        ("", "unknown setting"),
        ("spool.groups", "not in this version yet"),
    ],
)
def test_a_wrong_name_on_the_command_line_is_a_mistake(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_text(None, None, {"HOME": "/h"}, {name: "1"})
    assert str(caught.value).startswith("command line: ")
    assert says in str(caught.value)
