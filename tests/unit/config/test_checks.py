"""What must hold between settings, and for the files they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.config.loader import Loaded, load_text
from postroom.core.errors import ConfigurationError
from postroom.ingress.policy import ListenPolicy
from postroom.ingress.users import make_user_line
from tests.support.certificate import make_certificate


def loaded(text: str, directory: Path = Path("/nowhere")) -> Loaded:
    return load_text(text, directory / "f.toml", {"HOME": "/h"}, {"hostname": "a.example"})


def mistakes(text: str, directory: Path = Path("/nowhere")) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(text, directory)
    return [line.removeprefix(f"{directory}/f.toml:") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    "networks",
    [
        '"0.0.0.0/0"',
        '"::/0"',
        '["0.0.0.0/1", "128.0.0.0/1"]',
        '"2000::/3"',
        '"::ffff:0:0/96"',
        '["8.0.0.0/8", "9.0.0.0/8"]',
    ],
)
def test_an_open_relay_is_refused(networks: str) -> None:
    for setting in ("relay_from", "xclient", "proxy_protocol"):
        (line,) = mistakes(f"[listen.smtp]\n{setting} = {networks}")
        assert line.startswith(f"2: listen.smtp.{setting}: ")
        assert "open relay" in line


def test_private_networks_may_relay() -> None:
    networks = '["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"]'
    listen = loaded(f"[listen.smtp]\nrelay_from = {networks}").config.listen[0]
    assert listen.relay_from[0] == "10.0.0.0/8"


def test_host_bits_in_a_network_bring_the_network_meant() -> None:
    (line,) = mistakes('[listen.smtp]\nrelay_from = "10.1.2.3/16"')
    assert line.endswith('did you mean "10.1.0.0/16"?')


def test_an_address_is_taken_only_once() -> None:
    text = '[listen.a]\naddress = "127.0.0.1:25"\n[listen.b]\naddress = "127.0.0.1:25"'
    (line,) = mistakes(text)
    assert line.startswith('4: listen.b.address: "127.0.0.1:25" is taken by listen.a')
    loaded(text.replace(":25", ":0"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[route.a]\nhost = "x:25"', 'route.a.type: missing; expected "mx"'),
        ('[route.a]\ntype = "relay"', "route.a.host: missing"),
        ('[route.a]\ntype = "lmtp"', "route.a.address: missing"),
        ('[route.a]\ntype = "mx"\nhost = "x:25"', 'did you mean type = "relay"?'),
        ('[route.a]\ntype = "rely"\nhost = "x:25"', 'did you mean "relay"?'),
        ('[route.a]\ntype = "relay"\nhost = "x:0"', "has port 0"),
        ('[route.a]\ntype = "relay"\nhost = "x"\nrelays = ["y"]', "given beside host"),
        ('[route.a]\ntype = "relay"\nrelays = ["y", "y:25"]', "listed twice"),
        ('[route.a]\ntype = "relay"\nhost = "x"\nuser = "u"', "given without password_file"),
        ('[route.a]\ntype = "maildir"\npath = "/m/{lokal}"', 'did you mean "local"?'),
        ('[route.a]\ntype = "maildir"\npath = "/m/{local"', "stands for nothing"),
        ('[route.a]\ntype = "pipe"\ncommand = ["cat"]', "expected its absolute path"),
        ('[channel.a]\nroute = "default"', "channel.a.match: missing"),
        ("[channel.a]\nmatch = []", "no rules, so no mail"),
        ('[channel.default]\nmatch = ["a.b"]', "expected no rules"),
        ('[channel."a b"]\nmatch = "x"', "is no name"),
        ('[channel.a-b]\nmatch="x.y"\n[channel.a_b]\nmatch="z.y"', "too much like"),
        ("[listen]\naddress = 'x'", "expected [listen.NAME]"),
        ("spool = 3", "expected [spool]"),
        ("[listen.a]\nidle_timeout = '1m'", "listen.a.address: missing"),
        ("[listen.smtp]\nidle_timeout = '3h'", "longer than session_timeout"),
        ("[listen.smtp]\ntls = 'implicit'", "needs a certificate"),
        ("[listen.smtp]\ntls_certificate = 'x'", "given without tls_key"),
        ("[delivery]\nlane_active_max = 30000", "above active_max"),
        ("[log]\npath = '/nowhere/at/all'", "is no directory"),
        ("count = 3", 'did you mean "count" of [spool]?'),
        ("[spool]\ncount = true", "true is not understood"),
        ("[spool]\nreserve = '1 GB '\nsegment_size = '1 PiB'", "is not understood"),
    ],
)
def test_a_mistake_is_told_in_one_line(text: str, says: str) -> None:
    (line,) = mistakes(text)
    assert says in line


def test_a_password_never_goes_to_a_far_host_in_the_clear(tmp_path: Path) -> None:
    secret = tmp_path / "p"
    secret.write_text("x")
    secret.chmod(0o600)
    text = '[route.default]\ntype="relay"\nuser="u"\npassword_file="p"\ntls="none"\nhost = '
    (line,) = mistakes(text + '"far.example:25"', tmp_path)
    assert "in the clear" in line
    loaded(text + '"127.0.0.1:25"', tmp_path)


def test_a_secret_that_everybody_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(make_user_line("ann", "x"))
    users.chmod(0o644)
    text = '[listen.smtp]\nauth_users = "users"\nauth_plaintext_loopback = true'
    (line,) = mistakes(text, tmp_path)
    assert line == f"2: listen.smtp.auth_users: {users} is open to everybody; run: chmod o= {users}"
    users.chmod(0o640)
    assert not loaded(text, tmp_path).warnings
    users.unlink()
    assert "No such file" in mistakes(text, tmp_path)[0]


def make_pair(directory: Path, name: str) -> None:
    made = make_certificate("a.example", elliptic=True)
    (directory / f"{name}.crt").write_bytes(made.certificate)
    path = directory / f"{name}.key"
    path.write_bytes(made.key)
    path.chmod(0o600)


def test_certificate_and_key_must_fit(tmp_path: Path) -> None:
    make_pair(tmp_path, "a")
    make_pair(tmp_path, "b")
    text = '[listen.smtp]\ntls_certificate = "a.crt"\ntls_key = "{}.key"'
    assert loaded(text.format("a"), tmp_path).config.listen[0].tls == "starttls"
    assert "is not the key of" in mistakes(text.format("b"), tmp_path)[0]
    (tmp_path / "b.key").write_text("no key")
    assert "cannot be loaded" in mistakes(text.format("b"), tmp_path)[0]
    (tmp_path / "a.crt").unlink()
    assert "No such file" in mistakes(text.format("a"), tmp_path)[0]


def test_a_file_of_users_is_read_before_a_client_needs_it(tmp_path: Path) -> None:
    users, text = tmp_path / "users", '[listen.smtp]\nauth_users = "users"'
    users.write_text(make_user_line("ann", "secret") + "\n")
    users.chmod(0o600)
    assert loaded(text, tmp_path).config.listen[0].auth_users == str(users)
    users.write_text("ann:secret\nbob\n")
    told = mistakes(text, tmp_path)
    assert [f"{users}:{number}: " in line for number, line in enumerate(told, 1)] == [True, True]
    assert "secret" not in "".join(told)


def test_port_465_with_a_user_means_tls_from_the_first_octet(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x")
    (tmp_path / "p").chmod(0o600)
    text = '[route.default]\ntype="relay"\nhost="x.example:465"\nuser="u"\npassword_file="p"'
    assert loaded(text, tmp_path).config.routes["default"].tls.mode == "implicit"  # type: ignore[union-attr]


def test_what_is_odd_but_allowed_is_a_warning() -> None:
    text = """
[route.unused]
type = "discard"
[channel.a]
match = [".example.org"]
[channel.b]
match = ["www.example.org"]
[listen.smtp]
auth_users = "users"
"""
    warnings = load_text(text, Path("f.toml"), {"HOME": "/h"}, {}, files=False).warnings
    assert any("no channel uses this route" in warning for warning in warnings)
    assert any("can never match" in warning for warning in warnings)
    assert any("nobody can authenticate" in warning for warning in warnings)


def test_the_default_channel_is_last_wherever_it_stands() -> None:
    config = loaded('[channel.default]\n[channel.b]\nmatch="b.c"\n[channel.a]\nmatch="a.c"').config
    assert [channel.name for channel in config.channels] == ["b", "a", "default"]


def test_a_listener_of_ones_own_takes_the_place_of_the_default_one() -> None:
    config = loaded('[listen.x]\naddress = "127.0.0.1:25"').config
    assert config.listen == (ListenPolicy(name="x", address=("127.0.0.1:25",)),)
