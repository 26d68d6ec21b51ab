"""The users file, networks and the tables of limits."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from postroom.core.errors import ConfigurationError
from postroom.ingress.access import Networks, client_key, normal_address
from postroom.ingress.limits import AuthFailures
from postroom.ingress.users import load_users, make_user_line


def scrypt_line(name: str, password: str) -> str:
    salt = b"0123456789abcdef"
    key = Scrypt(salt=salt, length=32, n=1 << 10, r=8, p=1).derive(password.encode())
    text = [base64.b64encode(part).rstrip(b"=").decode() for part in (salt, key)]
    return f"{name}:$scrypt$ln=10,r=8,p=1${text[0]}${text[1]}"


def written(directory: Path, text: str, mode: int = 0o600) -> Path:
    path = directory / "users"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_argon2id_and_scrypt_hashes_are_checked(tmp_path: Path) -> None:
    lines = ["# who may send", "", make_user_line("anna", "pâss"), scrypt_line("bob", "word")]
    users = load_users(written(tmp_path, "\n".join(lines)))
    assert len(users) == 2
    assert users.verify("anna", "pâss")
    assert users.verify("bob", "word")
    assert not users.verify("anna", "word")
    assert not users.verify("bob", "")
    assert not users.verify("carl", "word")
    assert not users.verify("anna", "x" * 2_000)


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path, "anna:secret\nbob\n:x\nc:$argon2id$v=19$m=99999999,t=1,p=1$a$b\n", 0o644
    )
    with pytest.raises(ConfigurationError) as caught:
        load_users(path)
    lines = str(caught.value).splitlines()
    assert "anybody may read" in lines[0]
    assert [line.split(":")[1] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_users(tmp_path / "absent")


@pytest.mark.parametrize("name", ["", "a:b", "#a", "a\nb"])
def test_names_that_cannot_stand_in_the_file(name: str) -> None:
    with pytest.raises(ValueError, match="not a user name"):
        make_user_line(name, "x")


def test_networks_hold_addresses_of_both_families() -> None:
    networks = Networks(["127.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"])
    inside = ["127.9.9.9", "192.0.2.7", "2001:db8:1::2", "::1"]
    assert all(networks.contains(address) for address in inside)
    outside = ["128.0.0.1", "192.0.2.8", "2001:db9::", "::2", ""]
    assert not any(networks.contains(address) for address in outside)
    assert Networks(["0.0.0.0/0"]).contains("8.8.8.8")
    assert not Networks(["0.0.0.0/0"]).contains("::1")


def test_one_ipv6_network_is_one_client() -> None:
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:1") == "2001:db8::"
    assert client_key("192.0.2.1") == "192.0.2.1"
    assert normal_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert normal_address("fe80::1%eth0") == "fe80::1"


def test_a_guesser_is_blocked_for_a_while() -> None:
    failures = AuthFailures()
    for _ in range(20):
        assert not failures.blocked("192.0.2.1", 100.0)
        failures.failed("192.0.2.1", 100.0)
    assert failures.blocked("192.0.2.1", 200.0)
    assert not failures.blocked("192.0.2.2", 200.0)
    assert not failures.blocked("192.0.2.1", 701.0)
    failures.failed("192.0.2.1", 701.0)
    assert not failures.blocked("192.0.2.1", 702.0)
