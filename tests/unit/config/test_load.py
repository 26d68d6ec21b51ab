"""Loading: defaults, the file, the environment and the command line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from postroom.channels.window import Span
from postroom.config.files import find_file
from postroom.config.loader import Loaded, load
from postroom.config.model import Config
from postroom.core.errors import ConfigurationError
from postroom.routing.policy import MxRoute, RelayHost, RelayRoute

HOME = {"HOME": "/home/user"}


def load_file(tmp_path: Path, text: str, **more: dict[str, str]) -> Loaded:
    """Load a file with this text."""
    path = tmp_path / "postroom.toml"
    path.write_text(text)
    return load(path, {**HOME, **more.get("environ", {})}, more.get("overrides", {}))


def test_with_no_file_at_all_a_working_server_is_configured() -> None:
    loaded = load(None, HOME, {})
    config = loaded.config
    assert config.listen[0].address == ("127.0.0.1:2525", "[::1]:2525")
    assert config.listen[0].relay_from == ("127.0.0.0/8", "::1/128")
    assert config.routes == {"default": MxRoute()}
    assert [channel.name for channel in config.channels] == ["default"]
    assert config.spool.base == "/home/user/.local/state/postroom"
    assert set(loaded.sources.values()) == {"default"}


def test_the_state_directory_follows_the_xdg_variable() -> None:
    environ = {**HOME, "XDG_STATE_HOME": "/state"}
    assert load(None, environ, {}).config.spool.base == "/state/postroom"
    environ["XDG_STATE_HOME"] = "relative"
    assert load(None, environ, {}).config.spool.base == "/home/user/.local/state/postroom"


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    text = "[spool]\ncount = 3\nstart = 3\nsync = 'none'"
    environ = {"POSTROOM_SPOOL_COUNT": "4", "POSTROOM_SPOOL_START": "4"}
    loaded = load_file(tmp_path, text, environ=environ, overrides={"spool.count": "5"})
    spool = loaded.config.spool
    assert (spool.count, spool.start, spool.sync) == (5, 4, "none")
    assert loaded.sources["spool.count"] == "command line"
    assert loaded.sources["spool.start"] == "environment POSTROOM_SPOOL_START"
    assert loaded.sources["spool.sync"] == f"{tmp_path}/postroom.toml:4"
    assert loaded.sources["spool.reserve"] == "default"


def test_the_names_of_the_seed_systems_are_understood() -> None:
    environ = {**HOME, "QUEUE_BASE": "/q", "QUEUE_START": "3", "QUEUE_COUNT": "2"}
    environ |= {"QUEUE_MAX": "9", "QUEUE_LOAD": "80"}
    loaded = load(None, environ, {})
    spool = loaded.config.spool
    assert (spool.base, spool.start, spool.count) == ("/q", 3, 2)
    assert loaded.sources["spool.base"] == "environment QUEUE_BASE"
    assert (spool.max, spool.load) == (9, 0.8)
    assert not [text for text in loaded.warnings if "QUEUE" in text]
    environ["POSTROOM_SPOOL_COUNT"] = "7"
    assert load(None, environ, {}).config.spool.count == 7


def test_a_whole_configuration_is_read(tmp_path: Path) -> None:
    text = """
hostname = "Mail.Example.ORG"
[spool]
base = "spool"
[listen.in]
address = "192.0.2.1:25"
relay_from = ["10.1.0.0/16", "::1"]
size_limit = "10 MiB"
idle_timeout = 90
[channel.default]
per_site = { concurrency = 3 }
[channel.gmail]
match = ["gmail.com", "mx:*.google.com"]
route = "out"
retry = "list 1m 5m for 1d"
delay_warning = "never"
[route.out]
type = "relay"
policy = "sequence"
relays = [ { host = "mta1.example", weight = 70 }, "[2001:db8::1]:587",
  { host = "mta3.example:26", tier = 2 } ]
"""
    config = load_file(tmp_path, text).config
    assert config.hostname == "mail.example.org"
    assert config.spool.base == str(tmp_path / "spool")
    assert config.listen[0].name == "in"
    assert config.listen[0].relay_from == ("10.1.0.0/16", "::1/128")
    assert config.listen[0].size_limit_octets == 10 << 20
    assert config.listen[0].idle_timeout_s == 90.0
    gmail, default = config.channels
    assert (gmail.name, gmail.route, gmail.delay_warning_s) == ("gmail", "out", 0.0)
    assert gmail.retry.delays_s == (60.0, 300.0)
    assert gmail.origin == f"{tmp_path}/postroom.toml:13"
    assert default.site_concurrency == 3
    assert config.routes["out"] == RelayRoute(
        "out",
        (
            RelayHost("mta1.example", weight=70),
            RelayHost("2001:db8::1", 587),
            RelayHost("mta3.example", 26, tier=2),
        ),
        policy="sequence",
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(config), type=Config) == config


def test_a_smarthost_needs_five_lines_and_its_certificate_is_checked(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    text = '[route.default]\ntype="relay"\nhost="smtp.example:587"\nuser="me"\n'
    route = load_file(tmp_path, text + 'password_file = "password"').config.routes["default"]
    assert isinstance(route, RelayRoute)
    assert route.relays == (RelayHost("smtp.example", 587),)
    assert route.password_file == str(secret)
    assert route.tls.mode == "verify"


def test_hours_of_a_channel_and_when_mail_may_be_scheduled(tmp_path: Path) -> None:
    text = """[channel.default]
window = ["Mon-Fri 08:00-20:00", "sat 22:00-4:00"]
time_zone = "Europe/Berlin"
[listen.smtp]
future_release = "never"
"""
    config = load_file(tmp_path, text).config
    [default] = config.channels
    assert default.window == (Span((0, 1, 2, 3, 4), 480, 1200), Span((5,), 1320, 240))
    assert default.time_zone == "Europe/Berlin"
    assert config.listen[0].future_release_s == 0
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(config), type=Config) == config
    with pytest.raises(ConfigurationError) as caught:
        load_file(tmp_path, '[channel.default]\nwindow = ["8-20"]\ntime_zone = "Mars/Olympus"\n')
    first, second = str(caught.value).splitlines()
    assert 'postroom.toml:2: channel.default.window: "8-20" is no window' in first
    assert "postroom.toml:3: channel.default.time_zone:" in second and "tzdata" in second


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = """[spool]
cuont = 3
max = 1
[listen.smtp]
address = [
  "127.0.0.1:25",
  "nowhere",
]
relay_from = "0.0.0.0/0"
[channel.a]
match = "a.example"
route = "defualt"
"""
    with pytest.raises(ConfigurationError) as caught:
        load_file(tmp_path, text, overrides={"spool.start": "x"})
    lines = str(caught.value).splitlines()
    file = tmp_path / "postroom.toml"
    assert lines[0] == (
        f"{file}:2: spool.cuont: unknown setting; expected a setting of [spool]; "
        'did you mean "count"?'
    )
    assert lines[1].startswith(f"{file}:3: spool.max: max (1) is below count (2); expected")
    assert lines[2].startswith(f'{file}:7: listen.smtp.address: "nowhere": the port is missing')
    assert lines[3].startswith(
        f"{file}:9: listen.smtp.relay_from: 0.0.0.0/0: this would be an open"
    )
    assert lines[4].startswith(f'{file}:12: channel.a.route: there is no route "defualt"')
    assert lines[4].endswith('did you mean "default"?')
    assert lines[5].startswith('command line: spool.start: "x" is not understood; expected')
    assert len(lines) == 6


def test_text_that_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"postroom\.toml:2: not TOML: "):
        load_file(tmp_path, "[spool]\ncount = = 3\n")


def test_a_file_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "none.toml", HOME, {})
    (tmp_path / "bad.toml").write_bytes(b"a = 1\nb = '\xff'")
    with pytest.raises(ConfigurationError, match=r"bad\.toml:2: not TOML: not UTF-8"):
        load(tmp_path / "bad.toml", HOME, {})


def test_a_file_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "postroom.toml"
    path.write_text("")
    path.chmod(0o646)
    with pytest.raises(ConfigurationError, match="chmod o-w"):
        load(path, HOME, {})


def test_the_file_is_found_where_the_user_keeps_configuration(tmp_path: Path) -> None:
    own = tmp_path / "postroom" / "postroom.toml"
    own.parent.mkdir()
    own.write_text("[spool]\ncount = 9")
    environ = {"HOME": "/nowhere", "XDG_CONFIG_HOME": str(tmp_path)}
    assert find_file(environ) == own
    assert load(None, environ, {}).config.spool.count == 9
    environ["POSTROOM_CONFIG"] = "/elsewhere.toml"
    assert find_file(environ) == Path("/elsewhere.toml")
