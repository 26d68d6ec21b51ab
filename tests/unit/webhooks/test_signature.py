"""Signatures are those of Standard Webhooks, and secrets are read with care."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from postroom.config.webhook import read_secrets
from postroom.core.errors import ConfigurationError
from postroom.webhooks.signature import headers, id_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example of the specification."""


def test_the_example_of_the_specification_is_signed_as_it_says(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    body = b'{"test": 2432232314}'
    found = headers(body, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, read_secrets(str(file)))
    assert found == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_with_several_secrets_each_signs(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    file.write_text(f"{other}\n\n{SECRET}\n")
    found = headers(b"{}", "msg_1", 0.0, read_secrets(str(file)))["webhook-signature"].split()
    assert len(set(found)) == 2
    assert all(one.startswith("v1,") for one in found)


@pytest.mark.parametrize(
    "line", ["hunter2hunter2hunter2hunter2", "whsec_c2hvcnQ=", "whsec_%%%", ""]
)
def test_what_is_no_secret_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    file = tmp_path / "secret"
    file.write_text(line + "\n")
    with pytest.raises(ConfigurationError) as caught:
        read_secrets(str(file))
    assert str(file) in str(caught.value)
    assert not line or line.removeprefix("whsec_") not in str(caught.value)


def test_an_id_is_that_of_its_parts() -> None:
    assert id_of([b"a", b"bc"]) == id_of([b"a", b"bc"])
    assert id_of([b"a", b"bc"]) != id_of([b"ab", b"c"])
