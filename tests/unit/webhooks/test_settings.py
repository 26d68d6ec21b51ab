"""What a webhook for traces may be set to, and what it is told otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.config.loader import Loaded, load_text
from postroom.config.webhook import OTLP, TRACE_EVENTS
from postroom.core.errors import ConfigurationError

URL = 'url = "http://127.0.0.1:4318/v1/traces"\n'


def load(text: str, *, files: bool = False) -> Loaded:
    table = f'hostname = "mail.example.org"\n[webhook.traces]\n{text}'
    return load_text(table, Path("p.toml"), {"HOME": "/nonexistent"}, {}, files=files)


def test_traces_need_a_url_alone_and_read_the_events_that_have_spans() -> None:
    [policy] = load(f'format = "otlp"\n{URL}').config.webhooks
    assert (policy.format, policy.secret_file, policy.sample) == (OTLP, "", 1.0)
    assert policy.wanted.events == TRACE_EVENTS
    [policy] = load(f'format = "otlp"\n{URL}events = ["done", "expired"]').config.webhooks
    assert policy.wanted.events == ("done", "expired")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (URL, "webhook.traces.secret_file: missing"),
        (f'format = "otel"\n{URL}', 'did you mean "otlp"'),
        ('format = "otlp"\nurl = "http://127.0.0.1:4318"', "/v1/traces"),
        (f'format = "otlp"\n{URL}events = ["held"]', "no span is made of held"),
        (f'format = "otlp"\n{URL}channel = "gmail"', "would lack its root"),
        (f'format = "otlp"\n{URL}tenant = "shop"', "would lack its root"),
        (f'format = "otlp"\n{URL}sample = 0', "out of range"),
        (f'{URL}secret_file = "/x"\nsample = 0.5', 'expected format = "otlp"'),
        ('format = "otlp"\nurl = "http://collector.example/v1/traces"', "in the clear"),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert told in str(caught.value)


def test_a_key_is_looked_at_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    text = f'format = "otlp"\n{URL}authorization_file = "{file}"\n'
    for content, mode, told in (
        ("Bearer hunter2", 0o644, "chmod o="), ("hunter2\nhunter3", 0o600, "expected one line"),
    ):  # fmt: skip
        file.write_text(content)
        file.chmod(mode)
        with pytest.raises(ConfigurationError) as caught:
            load(text, files=True)
        assert told in str(caught.value) and "hunter" not in str(caught.value)
    file.write_text("Bearer hunter2\n")
    assert load(text, files=True).config.webhooks[0].authorization_file == str(file)


def test_a_key_that_goes_in_the_clear_is_warned_of() -> None:
    text = 'format = "otlp"\nurl = "http://collector.example/v1/traces"\nallow_http = true\n'
    warnings = load(text + 'authorization_file = "/x"').warnings
    assert any("plain http" in warning for warning in warnings)
