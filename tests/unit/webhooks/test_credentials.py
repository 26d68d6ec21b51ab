"""Credentials come from files, follow their changes, and are told to nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from postroom.config.webhook import OTLP, WebhookPolicy, read_authorization
from postroom.core.errors import ConfigurationError
from postroom.webhooks.credentials import Credentials


def test_a_value_is_read_anew_when_its_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("Bearer one\n")
    known = Credentials(WebhookPolicy("x", format=OTLP, authorization_file=str(file)))
    assert known.headers(b"", "id", 1.0) == {"authorization": "Bearer one"}
    for number, (text, expected) in enumerate((("Bearer two", "Bearer two"), ("", "Bearer two"))):
        file.write_text(text)
        os.utime(file, ns=(0, 1_000_000_000 * (number + 1)))
        assert known.headers(b"", "id", 1.0) == {"authorization": expected}
    file.unlink()
    assert known.headers(b"", "id", 1.0) == {"authorization": "Bearer two"}
    assert known.hidden("no such token: two (Bearer two)") == "no such token: … (…)"


def test_without_files_nothing_is_sent() -> None:
    known = Credentials(WebhookPolicy("x", format=OTLP))
    assert known.headers(b"", "id", 1.0) == {}
    assert known.hidden("as it was") == "as it was"


@pytest.mark.parametrize("text", ["", "\n", "a\nb", "a\rb", "tök", "x" * 5000])
def test_what_is_no_header_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="expected one line") as caught:
        read_authorization(str(file))
    assert "tök" not in str(caught.value) and "xxx" not in str(caught.value)
